// REST: one function that asks, with the token and the chosen language, and one error that says what went wrong.
// What the answers mean for the screens is left to `state/`.

import type {
  AbuseBan,
  Account,
  Allocation,
  AuditEntry,
  Ban,
  Bot,
  Device,
  Found,
  Hook,
  Invitation,
  InvitationPreview,
  ListedInvitation,
  Me,
  Message,
  Page,
  Pin,
  PublicRoom,
  PushSettings,
  RelayDevice,
  RelayNode,
  RelaySecret,
  RelaySecretText,
  RelayUsage,
  ResetLink,
  Role,
  Room,
  RoomAccount,
  RoomParticipant,
  ServerConfig,
  Session,
  Setting,
  StoredFile,
  TotpSetup,
  TurnCredentials,
  User,
  UserAccount,
  Warning,
  Window,
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
    /** The server's stable word for it; empty when it said none. */
    readonly code = "",
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

/** Where in a history: around a message, beyond one, or its end. */
export type Place = { before: number } | { after: number } | { around: number } | Record<string, never>;

/** A message as it is sent; `client_id` makes sending it again harmless. */
export interface Draft {
  content: string;
  client_id: string;
  reply_to?: number | undefined;
  attachment_ids?: number[] | undefined;
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
  async function request<T>(
    method: string,
    path: string,
    body?: unknown,
    timeoutSeconds = TIMEOUT_SECONDS,
  ): Promise<T> {
    const headers: Record<string, string> = { "Accept-Language": access.language() };
    const token = access.token();
    if (token !== null) headers.Authorization = `Token ${token}`;
    const init: RequestInit = {
      method,
      headers,
      signal: AbortSignal.timeout(timeoutSeconds * 1000),
      // Nothing of this is kept anyway, but for what it might keep, Chromium has a second attempt wait for the first.
      cache: "no-store",
    };
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
    return understand<T>(response.status, text, token);
  }

  /** What an answer says: the thing asked for, or an error. */
  function understand<T>(status: number, text: string, token: string | null): T {
    const ok = status >= 200 && status < 300;
    let answer: unknown;
    try {
      answer = text === "" ? undefined : JSON.parse(text);
    } catch {
      throw new ApiError(ok ? 0 : status, "");
    }
    if (ok) return answer as T;
    if (status === 401 && token !== null) access.onUnauthorized(token);
    const problem = typeof answer === "object" && answer !== null ? (answer as Record<string, unknown>) : {};
    const word = (key: string) => (typeof problem[key] === "string" ? problem[key] : "");
    throw new ApiError(status, word("detail"), fieldErrors(problem), word("code"));
  }

  /** Sends a form; `fetch` does not tell how much of it has gone. */
  function send<T>(
    method: string,
    path: string,
    form: FormData,
    options: { onProgress?: (part: number) => void; signal?: AbortSignal } = {},
  ): Promise<T> {
    const token = access.token();
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.setRequestHeader("Accept-Language", access.language());
    if (token !== null) request.setRequestHeader("Authorization", `Token ${token}`);
    request.upload.onprogress = ({ loaded, total }) => options.onProgress?.(total > 0 ? loaded / total : 0);
    options.signal?.addEventListener("abort", () => request.abort(), { once: true });
    return new Promise((resolve, reject) => {
      request.onload = () => {
        try {
          resolve(understand<T>(request.status, request.responseText, token));
        } catch (error) {
          reject(error);
        }
      };
      request.onerror = request.onabort = () => reject(new ApiError(0, ""));
      request.send(form);
    });
  }

  const form = (name: string, file: File): FormData => {
    const data = new FormData();
    data.append(name, file);
    return data;
  };
  const query = (values: Record<string, string | number>): string =>
    new URLSearchParams(Object.entries(values).map(([key, value]) => [key, String(value)])).toString();

  return {
    config: () => request<ServerConfig>("GET", "/api/config/"),

    register: (account: Registration) => request<Session>("POST", "/api/auth/register/", account),
    login: (name: string, password: string, code: string) =>
      request<Session>("POST", "/api/auth/login/", {
        [name.includes("@") ? "email" : "username"]: name,
        password,
        ...(code === "" ? {} : { code }),
      }),
    reset: (token: string, password: string, code: string) =>
      request<Session>("POST", "/api/auth/reset/", { token, password, code }),
    oidcFinish: (code: string, totp: string) =>
      request<Session>("POST", "/api/auth/oidc/finish/", { code, totp_code: totp }),
    oidcLink: (password: string) => request<{ url: string }>("POST", "/api/auth/oidc/link/", { password }),
    oidcUnlink: () => request<void>("DELETE", "/api/auth/oidc/link/"),
    logout: () => request<void>("POST", "/api/auth/logout/"),
    logoutAll: () => request<void>("POST", "/api/auth/logout-all/"),

    me: () => request<Account>("GET", "/api/auth/me/"),
    deleteAccount: (password: string) => request<void>("DELETE", "/api/auth/me/", { password }),
    setDisplayName: (name: string) => request<Me>("PATCH", "/api/auth/profile/", { display_name: name }),
    setAvatar: (file: File) => send<Me>("PATCH", "/api/auth/profile/", form("avatar", file)),
    removeAvatar: () => request<Me>("PATCH", "/api/auth/profile/", { avatar: null }),
    changePassword: (current: string, next: string) =>
      request<void>("POST", "/api/auth/password/", { current_password: current, new_password: next }),
    devices: () => request<Device[]>("GET", "/api/auth/devices/"),
    renameDevice: (id: number, name: string) =>
      request<Device>("PATCH", `/api/auth/devices/${id}/`, { name }),
    endDevice: (id: number) => request<void>("DELETE", `/api/auth/devices/${id}/`),
    beginTotp: (password: string) => request<TotpSetup>("POST", "/api/auth/totp/", { password }),
    confirmTotp: (code: string) =>
      request<{ recovery_codes: string[] }>("POST", "/api/auth/totp/confirm/", { code }),
    endTotp: (password: string, code: string) =>
      request<void>("DELETE", "/api/auth/totp/", { password, code }),

    rooms: (page: number, size: number) =>
      request<Page<Room>>("GET", `/api/rooms/?${query({ page, page_size: size })}`),
    publicRooms: (search: string, page: number) =>
      request<Page<PublicRoom>>("GET", `/api/rooms/public/?${query({ search, page })}`),
    people: (search: string, page = 1) =>
      request<Page<User>>("GET", `/api/users/?${query({ search, page })}`),
    room: (id: number) => request<Room>("GET", `/api/rooms/${id}/`),
    createRoom: (room: { name: string; is_public?: boolean; topic?: string }) =>
      request<Room>("POST", "/api/rooms/", room),
    changeRoom: (id: number, change: { name?: string; topic?: string; is_public?: boolean }) =>
      request<Room>("PATCH", `/api/rooms/${id}/`, change),
    deleteRoom: (id: number) => request<void>("DELETE", `/api/rooms/${id}/`),
    joinRoom: (id: number) => request<Room>("POST", `/api/rooms/${id}/join/`),
    leaveRoom: (id: number) => request<void>("POST", `/api/rooms/${id}/leave/`),
    pinRoom: (id: number, pin: boolean) => request<Room>(pin ? "POST" : "DELETE", `/api/rooms/${id}/pin/`),
    /** `until`: the end of it, or for good. */
    muteRoom: (id: number, until: Date | null) =>
      request<Room>("POST", `/api/rooms/${id}/mute/`, { until: until?.toISOString() ?? null }),
    unmuteRoom: (id: number) => request<Room>("DELETE", `/api/rooms/${id}/mute/`),
    directRoom: (userId: number) => request<Room>("POST", "/api/rooms/direct/", { user_id: userId }),
    participants: (id: number) => request<RoomParticipant[]>("GET", `/api/rooms/${id}/participants/`),
    addParticipant: (id: number, userId: number) =>
      request<RoomParticipant>("POST", `/api/rooms/${id}/add-participant/`, { id: userId }),
    removeParticipant: (id: number, userId: number) =>
      request<void>("DELETE", `/api/rooms/${id}/participants/${userId}/`),
    setRole: (id: number, userId: number, role: Exclude<Role, "owner">) =>
      request<RoomParticipant>("PATCH", `/api/rooms/${id}/participants/${userId}/`, { role }),
    transferRoom: (id: number, userId: number) =>
      request<Room>("POST", `/api/rooms/${id}/transfer/`, { user_id: userId }),
    bans: (id: number) => request<Page<Ban>>("GET", `/api/rooms/${id}/bans/?page_size=100`),
    ban: (id: number, userId: number, reason: string) =>
      request<void>("POST", `/api/rooms/${id}/bans/`, { user_id: userId, reason }),
    liftBan: (id: number, userId: number) => request<void>("DELETE", `/api/rooms/${id}/bans/${userId}/`),

    invite: (id: number, limits: { expires_in_hours?: number; max_uses?: number }) =>
      request<Invitation>("POST", `/api/rooms/${id}/invite/`, limits),
    invitations: (id: number) => request<ListedInvitation[]>("GET", `/api/rooms/${id}/invitations/`),
    revokeInvitation: (id: number, token: string) =>
      request<void>("DELETE", `/api/rooms/${id}/invitations/${encodeURIComponent(token)}/`),
    previewInvitation: (uuid: string) =>
      request<InvitationPreview>("GET", `/api/rooms/join/${encodeURIComponent(uuid)}/`),
    joinByInvitation: (uuid: string) => request<Room>("POST", `/api/rooms/join/${encodeURIComponent(uuid)}/`),

    bots: () => request<Bot[]>("GET", "/api/bots/"),
    addBot: (username: string, display_name: string) =>
      request<{ bot: Bot; token: string }>("POST", "/api/bots/", { username, display_name }),
    renameBot: (id: number, display_name: string) =>
      request<Bot>("PATCH", `/api/bots/${id}/`, { display_name }),
    renewBotToken: (id: number) => request<{ token: string }>("POST", `/api/bots/${id}/token/`),
    revokeBotToken: (id: number) => request<void>("DELETE", `/api/bots/${id}/token/`),
    deleteBot: (id: number) => request<void>("DELETE", `/api/bots/${id}/`),

    hooks: (room: number) => request<Hook[]>("GET", `/api/rooms/${room}/hooks/`),
    addHook: (room: number, name: string) =>
      request<{ hook: Hook; url: string }>("POST", `/api/rooms/${room}/hooks/`, { name }),
    renameHook: (room: number, id: number, name: string) =>
      request<Hook>("PATCH", `/api/rooms/${room}/hooks/${id}/`, { name }),
    setHookPicture: (room: number, id: number, file: File) =>
      send<Hook>("PATCH", `/api/rooms/${room}/hooks/${id}/`, form("avatar", file)),
    removeHookPicture: (room: number, id: number) =>
      request<Hook>("PATCH", `/api/rooms/${room}/hooks/${id}/`, { avatar: null }),
    renewHook: (room: number, id: number) =>
      request<{ url: string }>("POST", `/api/rooms/${room}/hooks/${id}/secret/`),
    deleteHook: (room: number, id: number) => request<void>("DELETE", `/api/rooms/${room}/hooks/${id}/`),

    messages: (room: number, place: Place, limit: number) =>
      request<Window>("GET", `/api/chat/${room}/messages/?${query({ ...place, limit })}`),
    message: (id: number) => request<Message>("GET", `/api/chat/messages/${id}/`),
    sendMessage: (room: number, draft: Draft) =>
      request<Message>("POST", `/api/chat/${room}/messages/`, draft),
    editMessage: (id: number, content: string) =>
      request<Message>("PATCH", `/api/chat/messages/${id}/`, { content }),
    deleteMessage: (id: number) => request<void>("DELETE", `/api/chat/messages/${id}/`),
    react: (id: number, emoji: string, added: boolean) =>
      request<Message>(
        added ? "PUT" : "DELETE",
        `/api/chat/messages/${id}/reactions/${encodeURIComponent(emoji)}/`,
      ),
    pins: (room: number) => request<Pin[]>("GET", `/api/rooms/${room}/pinned/`),
    pinMessage: (id: number, pin: boolean) =>
      request<void>(pin ? "POST" : "DELETE", `/api/chat/messages/${id}/pin/`),
    mentions: (before?: number) =>
      request<Window>("GET", `/api/mentions/?${query(before === undefined ? {} : { before })}`),

    search: (text: string, room?: number, before?: number) =>
      request<Found>(
        "GET",
        `/api/search/?${query({
          q: text,
          ...(room === undefined ? {} : { room }),
          ...(before === undefined ? {} : { before }),
        })}`,
      ),

    upload: (file: File, onProgress: (part: number) => void, signal: AbortSignal) =>
      send<StoredFile>("POST", "/api/files/upload/", form("file", file), { onProgress, signal }),

    pushSubscribe: (subscription: PushSubscriptionJSON) =>
      request<{ id: number }>("POST", "/api/push/subscriptions/", subscription),
    pushUnsubscribe: (endpoint: string) => request<void>("DELETE", "/api/push/subscriptions/", { endpoint }),
    pushSettings: () => request<PushSettings>("GET", "/api/push/settings/"),
    setPushSettings: (settings: Partial<PushSettings>) =>
      request<PushSettings>("PATCH", "/api/push/settings/", settings),

    declineCall: (room: number) => request<void>("POST", `/api/rooms/${room}/decline-call/`),
    turnCredentials: (timeoutSeconds?: number) =>
      request<TurnCredentials>("GET", "/api/turn/credentials/", undefined, timeoutSeconds),

    relayNodes: () => request<RelayNode[]>("GET", "/api/admin/relay/nodes/"),
    allocations: () => request<Allocation[]>("GET", "/api/admin/relay/allocations/"),
    endAllocation: (id: string) =>
      request<void>("DELETE", `/api/admin/relay/allocations/${encodeURIComponent(id)}/`),
    relayUsage: (month: string) =>
      request<RelayUsage[]>("GET", `/api/admin/relay/usage/?${query({ month })}`),
    relaySecrets: () => request<RelaySecret[]>("GET", "/api/admin/relay/secrets/"),
    addRelaySecret: (wanted: { name: string; max_allocations?: number; max_bytes_per_month?: number }) =>
      request<RelaySecretText>("POST", "/api/admin/relay/secrets/", wanted),
    rotateRelaySecret: (name: string, seconds: number) =>
      request<RelaySecretText>("POST", `/api/admin/relay/secrets/${encodeURIComponent(name)}/rotate/`, {
        keep_seconds: seconds,
      }),
    revokeRelaySecret: (name: string) =>
      request<void>("DELETE", `/api/admin/relay/secrets/${encodeURIComponent(name)}/`),
    relayDevices: () => request<RelayDevice[]>("GET", "/api/admin/relay/devices/"),
    addRelayDevice: (name: string) =>
      request<{ name: string; password: string }>("POST", "/api/admin/relay/devices/", { name }),
    removeRelayDevice: (name: string) =>
      request<void>("DELETE", `/api/admin/relay/devices/${encodeURIComponent(name)}/`),
    abuseBans: () => request<AbuseBan[]>("GET", "/api/admin/bans/"),
    liftAbuseBan: (id: number) => request<void>("DELETE", `/api/admin/bans/${id}/`),
    settings: () => request<Setting[]>("GET", "/api/admin/settings/"),
    warnings: () => request<Warning[]>("GET", "/api/admin/warnings/"),
    audit: (before?: number) =>
      request<{ results: AuditEntry[]; has_more_before: boolean }>(
        "GET",
        `/api/admin/audit/?${query({ limit: 50, ...(before === undefined ? {} : { before }) })}`,
      ),
    accounts: (q: string, page: number) =>
      request<Page<UserAccount>>("GET", `/api/admin/users/?${query({ q, page })}`),
    changeAccount: (id: number, change: { is_blocked?: boolean; is_admin?: boolean }) =>
      request<UserAccount>("PATCH", `/api/admin/users/${id}/`, change),
    deleteUser: (id: number) => request<void>("DELETE", `/api/admin/users/${id}/`),
    allRooms: (q: string, page: number) =>
      request<Page<RoomAccount>>("GET", `/api/admin/rooms/?${query({ q, page })}`),
    deleteAnyRoom: (id: number) => request<void>("DELETE", `/api/admin/rooms/${id}/`),
    makeResetLink: (userId: number) => request<ResetLink>("POST", `/api/admin/users/${userId}/reset-link/`),
  };
}

export type Api = ReturnType<typeof createApi>;
