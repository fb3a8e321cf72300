// The beginning: asks the server what it is, checks a remembered session, draws.

import { render } from "preact";
import { App } from "./app";
import { startWorker } from "./state/push";
import { api, loadServerConfig, session, setSession } from "./state/session";
import { report } from "./state/toasts";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/chat.css";
import "./styles/call.css";

void loadServerConfig();
if (import.meta.env.PROD) startWorker();

const remembered = session.peek();
if (remembered !== null) {
  api.me().then((user) => {
    if (session.peek() === remembered) setSession({ ...remembered, user });
  }, report);
}

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
