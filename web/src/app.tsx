// Which screen is shown: sign-in for strangers, else the rooms and what the address names.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "./i18n";
import { route } from "./router";
import { AuthScreen } from "./screens/auth";
import { CallBar, CallSound } from "./screens/call";
import { JoinScreen } from "./screens/join";
import { RoomScreen } from "./screens/room";
import { roomTitle, Sidebar } from "./screens/sidebar";
import { rooms } from "./state/rooms";
import { me, session } from "./state/session";
import { Empty, Toasts } from "./ui/components";

export function App(): JSX.Element {
  return (
    <>
      {session.value === null ? <AuthScreen /> : <Shell />}
      <Toasts />
    </>
  );
}

function Shell(): JSX.Element {
  const where = route.value;
  const inside = where.name === "room" || where.name === "join";
  useTitle();
  return (
    <div class={`shell ${inside ? "shows-main" : "shows-list"}`}>
      <CallBar />
      <Sidebar />
      <main class="main">
        {where.name === "room" && <RoomScreen key={where.id} id={where.id} message={where.message} />}
        {where.name === "join" && <JoinScreen uuid={where.uuid} />}
        {!inside && <Empty icon="chat" title={t("home_title")} text={t("home_text")} />}
      </main>
      <CallSound />
    </div>
  );
}

/** The page's title: what is unread, and where one is. */
function useTitle(): void {
  const where = route.value;
  const unread = [...rooms.value.values()].reduce((sum, room) => sum + room.unread_count, 0);
  const room = where.name === "room" ? rooms.value.get(where.id) : undefined;
  const name = room === undefined ? t("app_name") : `${roomTitle(room, me().id)} · ${t("app_name")}`;
  const title = unread > 0 ? `(${unread}) ${name}` : name;
  useEffect(() => {
    document.title = title;
    return () => {
      document.title = t("app_name");
    };
  }, [title]);
}
