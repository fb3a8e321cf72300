// Messages from anywhere: those that mention the reader, and those that a search has found. Each leads to its place.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Message } from "../api/types";
import { formatShort, t } from "../i18n";
import { navigate, roomPath } from "../router";
import { meet, nameOf } from "../state/people";
import { rooms, sortedRooms } from "../state/rooms";
import { api, me } from "../state/session";
import { explain } from "../state/toasts";
import { Avatar, Empty, Field, Problem, Select, Spinner } from "../ui/components";
import { Page } from "./page";
import { useRested } from "./people";
import { roomTitle } from "./sidebar";

interface Part<T> {
  results: readonly T[];
  next: number | null;
}

/** A list that goes on as far as one wants; anew whenever one of `by` changes. */
function usePaged<T>(ask: (before?: number) => Promise<Part<T>>, by: readonly unknown[]) {
  const [list, setList] = useState<Part<T> | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let left = false;
    setList(null);
    setProblem(null);
    ask().then(
      (part) => !left && setList(part),
      (error) => !left && setProblem(explain(error)),
    );
    return () => {
      left = true;
    };
  }, [...by, turn]);
  const more = async () => {
    if (list?.next == null) return;
    try {
      const part = await ask(list.next);
      setList({ results: [...list.results, ...part.results], next: part.next });
    } catch (error) {
      setProblem(explain(error));
    }
  };
  return { list, problem, more, reload: () => setTurn(turn + 1) };
}

export function FoundMessage(props: { message: Message; children: JSX.Element | string }): JSX.Element {
  const { message } = props;
  const room = rooms.value.get(message.room);
  const name = nameOf(message.author);
  return (
    <li>
      <a class="row action wraps found-message" href={roomPath(message.room, message.id)}>
        <Avatar name={name} seed={message.author.username} src={message.author.avatar_url} />
        <span class="who">
          <span class="byline">
            <span class="author">{name}</span>
            <span class="ellipsis">{room === undefined ? "" : roomTitle(room, me().id)}</span>
            <time dateTime={message.created_at}>{formatShort(new Date(message.created_at))}</time>
          </span>
          <span class="found-text">{props.children}</span>
        </span>
      </a>
    </li>
  );
}

export function MentionsScreen(): JSX.Element {
  const found = usePaged<Message>(async (before) => {
    const { results, has_more_before: more } = await api.mentions(before);
    meet(results.map((message) => message.author));
    return { results, next: more ? (results.at(-1)?.id ?? null) : null };
  }, []);
  return (
    <Page title={t("mentions")}>
      {found.problem !== null && <Problem text={found.problem} onRetry={found.reload} />}
      {found.list === null && found.problem === null && <Spinner label={t("loading")} />}
      {found.list?.results.length === 0 && (
        <Empty icon="at" title={t("mentions_empty")} text={t("mentions_empty_text")} />
      )}
      <ul class="found">
        {found.list?.results.map((message) => (
          <FoundMessage key={message.id} message={message}>
            {message.content || t("attachment")}
          </FoundMessage>
        ))}
      </ul>
      {found.list?.next != null && (
        <button type="button" class="button" onClick={() => void found.more()}>
          {t("show_more")}
        </button>
      )}
    </Page>
  );
}

export function SearchScreen({ query }: { query: string }): JSX.Element {
  const [text, setText] = useState(query);
  const [room, setRoom] = useState("");
  const rested = useRested(text.trim());
  // The address says what is sought, so that the way back from a message leads to it.
  useEffect(() => {
    if (rested !== query)
      navigate(rested === "" ? "#/search" : `#/search/${encodeURIComponent(rested)}`, true);
  }, [rested]);
  // An address that comes from elsewhere says it anew.
  useEffect(() => {
    if (query !== rested) setText(query);
  }, [query]);
  const found = usePaged(
    async (before) => {
      if (rested === "") return { results: [], next: null };
      const { results, next_before: next } = await api.search(
        rested,
        room === "" ? undefined : Number(room),
        before,
      );
      meet(results.map((message) => message.author));
      return { results, next };
    },
    [rested, room],
  );
  return (
    <Page title={t("search")}>
      <search class="halves">
        <Field
          label={t("search_messages")}
          name="search"
          type="search"
          value={text}
          onInput={setText}
          maxLength={200}
          autofocus
        />
        <Select
          label={t("search_where")}
          value={room}
          onChange={setRoom}
          options={[
            { value: "", text: t("search_everywhere") },
            ...sortedRooms.value.map((one) => ({ value: String(one.id), text: roomTitle(one, me().id) })),
          ]}
        />
      </search>
      {found.problem !== null && <Problem text={found.problem} onRetry={found.reload} />}
      {found.list === null && found.problem === null && <Spinner label={t("loading")} />}
      {rested === "" && <Empty icon="search" title={t("search_empty")} text={t("search_empty_text")} />}
      {rested !== "" && found.list?.results.length === 0 && (
        <Empty icon="search" title={t("nothing_found")} />
      )}
      <ul class="found" aria-label={t("search_results")}>
        {found.list?.results.map((hit) => (
          <FoundMessage key={hit.id} message={hit}>
            <span>
              {hit.excerpt.map((piece, at) =>
                piece.is_match ? <mark key={at}>{piece.text}</mark> : <span key={at}>{piece.text}</span>,
              )}
            </span>
          </FoundMessage>
        ))}
      </ul>
      {found.list?.next != null && (
        <button type="button" class="button" onClick={() => void found.more()}>
          {t("show_more")}
        </button>
      )}
    </Page>
  );
}
