// What there is on this server: public rooms to enter, people to write to.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { PublicRoom } from "../../api/types";
import { t } from "../../i18n";
import { navigate, roomPath } from "../../router";
import { nameOf } from "../../state/people";
import { takeRoom } from "../../state/rooms";
import { api, me } from "../../state/session";
import { report } from "../../state/toasts";
import { Avatar, Empty, Field, Problem, Spinner } from "../../ui/components";
import { useAsked } from "../../ui/use";
import { writeTo } from "../details/members";
import { Page } from "../page";
import { PeopleList, useRested } from "../people";

export function ExploreScreen({ part }: { part: string }): JSX.Element {
  const people = part === "people";
  const [sought, setSought] = useState("");
  const rested = useRested(sought);
  return (
    <Page
      title={t("explore")}
      tabs={[
        { href: "#/explore", text: t("public_rooms"), here: !people },
        { href: "#/explore/people", text: t("people"), here: people },
      ]}
    >
      <div class="stack">
        <Field
          label={t(people ? "search_people" : "search_rooms")}
          name="search"
          type="search"
          value={sought}
          onInput={setSought}
          maxLength={100}
        />
        {people ? (
          <PeopleList
            sought={rested}
            action={t("write")}
            onPick={(user) => void writeTo(user)}
            without={(user) => user.id === me().id}
          />
        ) : (
          <Rooms key={rested} sought={rested} />
        )}
      </div>
    </Page>
  );
}

function Rooms({ sought }: { sought: string }): JSX.Element {
  const [page, setPage] = useState(1);
  const [before, setBefore] = useState<readonly PublicRoom[]>([]);
  const found = useAsked(() => api.publicRooms(sought, page), [sought, page]);
  const rooms = [...before, ...(found.data?.results ?? [])];
  const shown = new Map(rooms.map((room) => [room.id, room]));

  async function enter(room: PublicRoom): Promise<void> {
    try {
      if (!room.is_participant) takeRoom(await api.joinRoom(room.id));
      navigate(roomPath(room.id));
    } catch (error) {
      report(error);
    }
  }

  return (
    <>
      {found.problem !== null && <Problem text={found.problem} onRetry={found.reload} />}
      {found.data === null && found.problem === null && <Spinner label={t("loading")} />}
      {found.data !== null && shown.size === 0 && (
        <Empty
          icon="compass"
          title={t(sought === "" ? "public_rooms_empty" : "nothing_found")}
          text={sought === "" ? t("public_rooms_empty_text") : undefined}
        />
      )}
      <ul class="found">
        {[...shown.values()].map((room) => (
          <li key={room.id} class="row wraps">
            <Avatar name={room.name} seed={`room ${room.id}`} room />
            <span class="who">
              <span class="who-name">{room.name}</span>
              {room.topic !== "" && <span class="who-note">{room.topic}</span>}
              <span class="who-note">
                {t("members_count", { count: room.participant_count })} ·{" "}
                {t("owned_by", { name: nameOf(room.owner) })}
              </span>
            </span>
            <button
              type="button"
              class={room.is_participant ? "button small" : "button small primary"}
              aria-label={`${t(room.is_participant ? "open" : "enter_room")}: ${room.name}`}
              onClick={() => void enter(room)}
            >
              {t(room.is_participant ? "open" : "enter_room")}
            </button>
          </li>
        ))}
      </ul>
      {found.data?.next != null && (
        <button
          type="button"
          class="button"
          onClick={() => {
            setBefore(rooms);
            setPage(page + 1);
          }}
        >
          {t("show_more")}
        </button>
      )}
    </>
  );
}
