// Finding people by name.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { User } from "../api/types";
import { t } from "../i18n";
import { meet, nameOf } from "../state/people";
import { api } from "../state/session";
import { Avatar, Dialog, Field, Problem, Spinner } from "../ui/components";
import { useAsked } from "../ui/use";

/** Between the last key and asking. */
const PAUSE_MS = 250;

/** What is typed, once the fingers rest. */
export function useRested(value: string): string {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return rested;
}

export function PeopleList(props: {
  sought: string;
  action: string;
  onPick: (user: User) => void;
  without?: (user: User) => boolean;
}): JSX.Element {
  const found = useAsked(async () => {
    const page = await api.people(props.sought);
    meet(page.results);
    return page;
  }, [props.sought]);
  const people = (found.data?.results ?? []).filter((user) => !props.without?.(user));
  return (
    <>
      {found.problem !== null && <Problem text={found.problem} onRetry={found.reload} />}
      {found.data === null && found.problem === null && <Spinner label={t("loading")} />}
      {found.data !== null && people.length === 0 && <p class="hint">{t("nobody_found")}</p>}
      <ul class="found">
        {people.map((user) => (
          <li key={user.id} class="row">
            <Avatar name={nameOf(user)} seed={user.username} src={user.avatar_url} />
            <span class="who">
              <span class="who-name">
                {nameOf(user)} {user.is_bot && <span class="tag">{t("bot")}</span>}
              </span>
              <span class="who-note">@{user.username}</span>
            </span>
            <button
              type="button"
              class="button small"
              aria-label={`${props.action}: ${user.username}`}
              onClick={() => props.onPick(user)}
            >
              {props.action}
            </button>
          </li>
        ))}
      </ul>
      {(found.data?.count ?? 0) > (found.data?.results.length ?? 0) && (
        <p class="hint">{t("more_found", { count: found.data?.count ?? 0 })}</p>
      )}
    </>
  );
}

export function PeoplePicker(props: {
  title: string;
  action: string;
  onPick: (user: User) => void;
  onClose: () => void;
  without?: (user: User) => boolean;
}): JSX.Element {
  const [sought, setSought] = useState("");
  const rested = useRested(sought);
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <Field
        label={t("search_people")}
        name="people"
        type="search"
        value={sought}
        onInput={setSought}
        autofocus
      />
      <PeopleList
        sought={rested}
        action={props.action}
        onPick={props.onPick}
        {...(props.without === undefined ? {} : { without: props.without })}
      />
    </Dialog>
  );
}
