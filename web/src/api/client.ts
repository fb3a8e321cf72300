// REST: one function that asks, with the token and the chosen language, and one error that says what went wrong.
// What the answers mean for the screens is left to `state/`.

import type {
  Invitation,
  Me,
  Message,
  Page,
  Room,
  RoomParticipant,
  ServerConfig,
  Session,
  TurnCredentials,
} from "./types";

/** Seconds after which an unanswered request counts as failed. */
const TIMEOUT_SECONDS = 20;

export class ApiError extends Error {
  constructor(
    /** HTTP status; 0: no answer at all. */
    readonly status: number,
    /** In the user's language, from the server; empty when it said nothing usable. */
    readonly detail: string,
    /** Messages by field, from the server. */
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(detail || `HTTP ${status}`);
  }
}

export interface Access {
  token: () => string | null;
  language: () => string;
  /** Called when the server no longer knows the token that was sent. */
  onUnauthorized: (token: string) => void;
}

export interface Registration {
  username: string;
  email: string;
  password: string;
  display_name?: string;
  invite_code?: string;
  setup_token?: string;
}

/** `{"field": ["message"]}` beside `detail` and `code`, as text by field. */
function fieldErrors(body: Record<string, unknown>): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(body)) {
    if (Array.isArray(value)) fields[name] = value.map(String).join(" ");
  }
  return fields;
}

export function createApi(access: Access) {
  async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { "Accept-Language": access.language() };
    const token = access.token();
    if (token !== null) headers.Authorization = `Token ${token}`;
    const init: RequestInit = { method, headers, signal: AbortSignal.timeout(TIMEOUT_SECONDS * 1000) };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    let response: Response;
    let text: string;
    try {
      response = await fetch(path, init);
      text = await response.text();
    } catch {
      throw new ApiError(0, "");
    }
    let answer: unknown;
    try {
      answer = text === "" ? undefined : JSON.parse(text);
    } catch {
      throw new ApiError(response.ok ? 0 : response.status, "");
    }
    if (response.ok) return answer as T;
    if (response.status === 401 && token !== null) access.onUnauthorized(token);
    const problem = typeof answer === "object" && answer !== null ? (answer as Record<string, unknown>) : {};
    const detail = typeof problem.detail === "string" ? problem.detail : "";
    throw new ApiError(response.status, detail, fieldErrors(problem));
  }

  return {
    config: () => request<ServerConfig>("GET", "/api/config/"),
    register: (account: Registration) => request<Session>("POST", "/api/auth/register/", account),
    login: (name: string, password: string) =>
      request<Session>("POST", "/api/auth/login/", {
        [name.includes("@") ? "email" : "username"]: name,
        password,
      }),
    logout: () => request<void>("POST", "/api/auth/logout/"),
    me: () => request<Me>("GET", "/api/auth/me/"),
    rooms: (page: number, size: number) =>
      request<Page<Room>>("GET", `/api/rooms/?page=${page}&page_size=${size}`),
    room: (id: number) => request<Room>("GET", `/api/rooms/${id}/`),
    createRoom: (name: string) => request<Room>("POST", "/api/rooms/", { name }),
    renameRoom: (id: number, name: string) => request<Room>("PATCH", `/api/rooms/${id}/`, { name }),
    deleteRoom: (id: number) => request<void>("DELETE", `/api/rooms/${id}/`),
    leaveRoom: (id: number) => request<void>("POST", `/api/rooms/${id}/leave/`),
    pinRoom: (id: number, pin: boolean) => request<Room>(pin ? "POST" : "DELETE", `/api/rooms/${id}/pin/`),
    directRoom: (userId: number) => request<Room>("POST", "/api/rooms/direct/", { user_id: userId }),
    participants: (id: number) => request<RoomParticipant[]>("GET", `/api/rooms/${id}/participants/`),
    removeParticipant: (id: number, userId: number) =>
      request<void>("POST", `/api/rooms/${id}/remove-participant/`, { id: userId }),
    invite: (id: number) => request<Invitation>("POST", `/api/rooms/${id}/invite/`, {}),
    joinByInvitation: (uuid: string) => request<Room>("POST", `/api/rooms/join/${encodeURIComponent(uuid)}/`),
    messages: (room: number, page: number, size: number) =>
      request<Page<Message>>("GET", `/api/chat/${room}/messages/?page=${page}&page_size=${size}`),
    sendMessage: (room: number, content: string) =>
      request<Message>("POST", `/api/chat/${room}/messages/`, { content }),
    turnCredentials: () => request<TurnCredentials>("GET", "/api/turn/credentials/"),
  };
}
