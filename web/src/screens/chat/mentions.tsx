// Completing `@name` while it is written.

import type { JSX } from "preact";
import type { Room } from "../../api/types";
import { t } from "../../i18n";
import { avatarOf, nameOf } from "../../state/people";
import { Avatar } from "../../ui/components";

const MOST = 6;
const BEGUN = /(?:^|[^\p{L}\p{N}._+\-@/\\])@([\p{L}\p{N}._+-]*)$/u;

export interface Suggestion {
  /** `null`: everybody. */
  id: number | null;
  name: string;
  shown: string;
}

/** The name that is being written before the caret: where its `@` stands, and what there is of it. */
export function completionAt(text: string, caret: number): { from: number; sought: string } | null {
  const match = BEGUN.exec(text.slice(0, caret));
  const sought = match?.[1];
  return sought === undefined ? null : { from: caret - sought.length - 1, sought };
}

/** Who in the room is meant: names that begin so before those that hold it. */
export function suggest(room: Room, myId: number, sought: string): Suggestion[] {
  const wanted = sought.toLowerCase();
  const rank = (texts: string[]): number => {
    const lower = texts.map((text) => text.toLowerCase());
    if (lower.some((text) => text.startsWith(wanted))) return 0;
    return lower.some((text) => text.includes(wanted)) ? 1 : 2;
  };
  const people: Suggestion[] = room.participant_users
    .filter((user) => user.id !== myId)
    .map((user) => ({ id: user.id, name: user.username, shown: nameOf(user) }));
  // Whom the server lets do that, it decides again.
  if (room.role !== "member" || room.is_direct)
    people.push({ id: null, name: "all", shown: t("mention_all") });
  return people
    .map((suggestion) => ({ suggestion, rank: rank([suggestion.name, suggestion.shown]) }))
    .filter((entry) => entry.rank < 2)
    .sort((a, b) => a.rank - b.rank || a.suggestion.name.localeCompare(b.suggestion.name))
    .slice(0, MOST)
    .map((entry) => entry.suggestion);
}

export function Suggestions(props: {
  id: string;
  found: readonly Suggestion[];
  at: number;
  onChoose: (suggestion: Suggestion) => void;
}): JSX.Element {
  return (
    <div class="suggestions" role="listbox" id={props.id} aria-label={t("mention_people")}>
      {props.found.map((suggestion, index) => (
        // biome-ignore lint/a11y/useKeyWithClickEvents: chosen by the keyboard from the field
        <div
          key={suggestion.name}
          id={`${props.id}-${index}`}
          role="option"
          tabIndex={-1}
          aria-selected={index === props.at}
          // The field keeps the focus.
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => props.onChoose(suggestion)}
        >
          <Avatar
            size="small"
            name={suggestion.shown}
            seed={suggestion.name}
            src={suggestion.id === null ? undefined : avatarOf(suggestion.id)}
          />
          <span class="ellipsis">{suggestion.shown}</span>
          <span class="hint ellipsis">@{suggestion.name}</span>
        </div>
      ))}
    </div>
  );
}
