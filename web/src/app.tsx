// Which screen is shown: sign-in for strangers, else the rooms and what the address names.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "./i18n";
import { type Route, route } from "./router";
import { AuthScreen } from "./screens/auth";
import { CallBar, CallLayer } from "./screens/call";
import { ExploreScreen } from "./screens/explore";
import { MentionsScreen, SearchScreen } from "./screens/found";
import { JoinScreen } from "./screens/join";
import { RoomScreen } from "./screens/room";
import { roomTitle, Sidebar } from "./screens/sidebar";
import { waiting } from "./state/push";
import { rooms } from "./state/rooms";
import { me, session } from "./state/session";
import { Empty, Toasts } from "./ui/components";
import { lazy } from "./ui/lazy";
import "./ui/theme";

export function App(): JSX.Element {
  return (
    <>
      {session.value === null || route.value.name === "reset" ? <AuthScreen /> : <Shell />}
      <Toasts />
    </>
  );
}

/** Screens that are read one at a time; the list of rooms stands beside them. */
const SettingsScreen = lazy(() => import("./screens/settings").then((module) => module.SettingsScreen));
const AdminScreen = lazy(() => import("./screens/admin").then((module) => module.AdminScreen));

function Shell(): JSX.Element {
  const where = route.value;
  const inside = where.name !== "home" && where.name !== "oidc-error" && where.name !== "oidc";
  useTitle();
  return (
    <div class={`shell ${inside ? "shows-main" : "shows-list"}`}>
      <CallBar />
      <Sidebar />
      <main class="main">
        <Open where={where} />
      </main>
      <CallLayer />
    </div>
  );
}

function Open({ where }: { where: Route }): JSX.Element {
  switch (where.name) {
    case "room":
      return <RoomScreen key={where.id} id={where.id} message={where.message} />;
    case "join":
      return <JoinScreen key={where.uuid} uuid={where.uuid} />;
    case "explore":
      return <ExploreScreen key={where.part} part={where.part} />;
    case "mentions":
      return <MentionsScreen />;
    case "search":
      return <SearchScreen query={where.query} />;
    case "settings":
      return <SettingsScreen part={where.part} />;
    case "admin":
      if (me().is_admin) return <AdminScreen part={where.part} />;
  }
  return <Empty icon="chat" title={t("home_title")} text={t("home_text")} />;
}

/** The page's title: what is unread, and where one is. */
function useTitle(): void {
  const where = route.value;
  const unread = waiting.value;
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
