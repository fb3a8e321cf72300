// A list that is looked through by a name, page by page.

import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { Page } from "../../api/types";
import { t } from "../../i18n";
import { Empty, Field, Problem, Spinner } from "../../ui/components";
import type { IconName } from "../../ui/icons";
import { type Asked, useAsked } from "../../ui/use";
import { useRested } from "../people";

const SIZE = 20;

export function Paged<T>(props: {
  label: string;
  icon: IconName;
  ask: (sought: string, page: number) => Promise<Page<T>>;
  row: (item: T, list: Asked<Page<T>>) => ComponentChildren;
}): JSX.Element {
  const [sought, setSought] = useState("");
  const [page, setPage] = useState(1);
  const rested = useRested(sought.trim());
  const list = useAsked(() => props.ask(rested, page), [rested, page]);
  const pages = Math.max(1, Math.ceil((list.data?.count ?? 0) / SIZE));
  return (
    <>
      <Field
        label={props.label}
        name="search"
        type="search"
        value={sought}
        onInput={(value) => {
          setSought(value);
          setPage(1);
        }}
        maxLength={100}
      />
      {list.problem !== null && <Problem text={list.problem} onRetry={list.reload} />}
      {list.data === null && list.problem === null && <Spinner label={t("loading")} />}
      {list.data?.count === 0 && <Empty icon={props.icon} title={t("nothing_found")} />}
      <ul class="found">{list.data?.results.map((item) => props.row(item, list))}</ul>
      {pages > 1 && (
        <div class="cluster">
          <button type="button" class="button small" disabled={page <= 1} onClick={() => setPage(page - 1)}>
            {t("page_before")}
          </button>
          <span class="hint">{t("page_of", { page, pages })}</span>
          <button
            type="button"
            class="button small"
            disabled={page >= pages}
            onClick={() => setPage(page + 1)}
          >
            {t("page_after")}
          </button>
        </div>
      )}
    </>
  );
}
