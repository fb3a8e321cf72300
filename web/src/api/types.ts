// The objects of the wire API as the server sends them. Ids are positive integers, times RFC 3339 UTC.

export interface User {
  id: number;
  username: string;
  display_name: string;
  avatar_url: string;
  /** A program. */
  is_bot: boolean;
}

/** The signed-in user; the server fills these fields in for oneself alone. */
export interface Me extends User {
  email: string;
  is_admin: boolean;
}

/** With by what one may prove who one is; only `GET /api/auth/me/` says it. */
export interface Account extends Me {
  has_password: boolean;
  has_totp: boolean;
  recovery_codes: number;
  has_oidc: boolean;
}

export interface Device {
  id: number;
  name: string;
  created_at: string;
  last_used_at: string;
  /** The one that asks. */
  current: boolean;
}

export type Role = "owner" | "moderator" | "member";

export interface RoomUser {
  id: number;
  username: string;
  display_name: string;
}

export interface Room {
  id: number;
  name: string;
  topic: string;
  owner: User;
  participant_count: number;
  /** Usernames. */
  active_call_participants: string[];
  /** These and what follows up to `role` are the asking user's. */
  unread_count: number;
  first_unread_id: number | null;
  mention_count: number;
  is_pinned: boolean;
  is_muted: boolean;
  muted_until: string | null;
  role: Role;
  participant_users: RoomUser[];
  is_direct: boolean;
  is_public: boolean;
  created_at: string;
  updated_at: string;
}

export interface PublicRoom {
  id: number;
  name: string;
  topic: string;
  owner: User;
  participant_count: number;
  is_participant: boolean;
}

export interface RoomParticipant {
  id: number;
  user: User;
  joined_at: string;
  /** Owns the room. */
  is_admin: boolean;
  role: Role;
}

export interface Ban {
  user: User;
  banned_by: User;
  reason: string;
  created_at: string;
}

/** A program with an account of its own, as its owner sees it. */
export interface Bot extends User {
  is_blocked: boolean;
  created_at: string;
  /** `null`: it was taken away. */
  token: { created_at: string; last_used_at: string } | null;
}

/** By which a program writes to a room. */
export interface Hook {
  id: number;
  room: number;
  name: string;
  avatar_url: string;
  made_by: User;
  created_at: string;
  last_used_at: string | null;
}

export interface StoredFile {
  id: number;
  /** Good for a day or two without a token. */
  file: string;
  name: string;
  /** Bytes. */
  size: number;
  content_type: string;
  /** Pixels, of a picture. */
  width: number | null;
  height: number | null;
  thumbnail_url: string | null;
  created_at: string;
}

export interface Attachment {
  id: number;
  file: StoredFile;
}

export interface Reply {
  id: number;
  /** `null`: what was answered has been deleted. */
  author: RoomUser | null;
  excerpt: string;
  deleted: boolean;
}

export interface Reaction {
  emoji: string;
  user_ids: number[];
}

export interface Message {
  id: number;
  room: number;
  author: User;
  content: string;
  attachments: Attachment[];
  created_at: string;
  edited_at: string | null;
  client_id: string | null;
  reply_to: Reply | null;
  reactions: Reaction[];
  mentions: number[];
  mentions_all: boolean;
  read_by_ids: number[];
}

export interface Pin {
  message: Message;
  pinned_by: User;
  pinned_at: string;
}

export interface Page<T> {
  count: number;
  next: string | null;
  results: T[];
}

/** A part of the history, newest first. */
export interface Window {
  results: Message[];
  has_more_before: boolean;
  has_more_after: boolean;
}

/** A message, and the part of its text in which something was found. */
export type Hit = Message & { excerpt: { text: string; is_match: boolean }[] };

export interface Found {
  /** Newest first. */
  results: Hit[];
  /** Where the search goes on; `null`: that was all. */
  next_before: number | null;
}

export interface Session {
  token: string;
  user: Me;
}

export interface ServerConfig {
  public_url: string;
  version: string;
  registration: "code" | "open" | "closed";
  /** A provider by which people may sign in. */
  oidc: { name: string } | null;
  push_public_key: string | null;
  limits: {
    message_length: number;
    username_length: number;
    password_min_length: number;
    room_name_length: number;
  };
}

/** One that has just been made. */
export interface Invitation {
  token: string;
  expires_at: string | null;
  max_uses: number | null;
}

export interface ListedInvitation extends Invitation {
  created_by: User;
  created_at: string;
  uses: number;
}

export interface InvitationPreview {
  room_name: string;
  participant_count: number;
  inviter: User;
}

export interface TotpSetup {
  secret: string;
  uri: string;
}

export interface PushSettings {
  messages: "all" | "mentions" | "none";
  calls: boolean;
}

export interface RelayOwner {
  kind: "user" | "secret" | "device";
  id: number;
  name: string | null;
}

/** Of this process of the server, or of another. */
export interface RelayNode {
  name: string;
  regions: string[];
  state: "serving" | "draining" | "silent";
  allocations: number;
  bytes_per_second: number;
  /** 0 to 1. */
  load: number;
}

export interface Allocation {
  id: string;
  /** Its relay, by name. */
  node: string;
  owner: RelayOwner;
  username: string;
  transport: string;
  client: string;
  relay: string[];
  /** Seconds. */
  age: number;
  remaining: number;
  to_peer: { packets: number; bytes: number };
  to_client: { packets: number; bytes: number };
}

/** Of an address or of an account, because too much was wrong. */
export interface AbuseBan {
  id: number;
  what: "sign_in" | "registration" | "turn";
  address: string | null;
  account: RelayOwner | null;
  since: string;
  until: string;
  /** Which one in a row it is. */
  times: number;
}

export interface RelayUsage {
  /** `YYYY-MM`, UTC. */
  month: string;
  owner: RelayOwner;
  bytes_to_peers: number;
  bytes_to_clients: number;
  /** How long allocations lived, all together. */
  seconds: number;
  allocations: number;
}

/** A program that makes relay credentials with a secret of its own. */
export interface RelaySecret {
  name: string;
  created_at: string;
  /** `null`: no limit. */
  max_allocations: number | null;
  max_bytes_per_month: number | null;
  /** Until when the secret before the last one is taken. */
  previous_until: string | null;
}

/** A secret that has just been made. */
export interface RelaySecretText {
  name: string;
  secret: string;
}

/** A device's account at the relay. */
export interface RelayDevice {
  name: string;
  created_at: string;
  /** For which it was made. */
  realm: string;
  /** Whether it can sign in: that is the server's realm. */
  usable: boolean;
}

/** A setting of the server, as it is in force. */
export interface Setting {
  /** `section.name`, or `name`. */
  key: string;
  /** `null`: it is a secret. */
  value: string | null;
  is_secret: boolean;
  is_set: boolean;
  /** The flag, the variable or the file that says so, or `default`. */
  origin: string;
  is_reloaded: boolean;
  /** Another value was found, and waits for the next start. */
  is_waiting: boolean;
}

/** What the server's log says that somebody should know. */
export interface Warning {
  /** The last time. */
  at: string;
  first_at: string;
  /** How often. */
  count: number;
  level: "warn" | "error";
  target: string;
  text: string;
}

/** Somebody or something, as it was called then. */
interface Named {
  kind: string;
  id: number | null;
  name: string;
}

/** What was done over others (docs/audit.md). */
export interface AuditEntry {
  id: number;
  created_at: string;
  actor: Named;
  action: string;
  target: Named;
  address: string | null;
}

/** A user as administrators see him. */
export interface UserAccount extends User {
  email: string;
  is_admin: boolean;
  is_blocked: boolean;
  has_totp: boolean;
  file_count: number;
  file_bytes: number;
  created_at: string;
  /** To the hour; `null`: never signed in. */
  last_seen_at: string | null;
}

/** A room as administrators see it, who read nothing in it. */
export interface RoomAccount {
  id: number;
  name: string;
  is_public: boolean;
  is_direct: boolean;
  owner: User;
  participant_count: number;
  message_count: number;
  file_bytes: number;
  created_at: string;
  last_message_at: string | null;
}

export interface ResetLink {
  url: string;
  expires_at: string;
}

export interface TurnCredentials {
  /** Seconds. */
  ttl: number;
  iceServers: RTCIceServer[];
}

export interface CallMember {
  user_id: number;
  username: string;
  /** `connecting` while a socket is open, `active` once in the call. */
  state: "connecting" | "active";
}

/** What all see alike of a room that has changed. */
export type ChangedRoom = Pick<
  Room,
  "id" | "name" | "topic" | "participant_count" | "is_public" | "updated_at"
> & { owner_id: number };

type InRoom<T> = T & { room_id: number };

/** What the one connection tells; frames of calls are left to those who know them. */
export type LiveFrame =
  | {
      type: "hello";
      data: { user: Me; online?: number[]; last_event_id: number; heartbeat_seconds: number };
    }
  | { type: "presence"; data: { online: number[]; offline: number[] } }
  | { type: "resync"; data: { last_event_id: number } }
  | { type: "chat_message" | "message_edited"; data: InRoom<Message> }
  | { type: "message_deleted"; data: InRoom<{ message_id: number }> }
  | {
      type: "reaction_changed";
      data: InRoom<{ message_id: number; emoji: string; user_id: number; added: boolean }>;
    }
  | { type: "message_pinned" | "message_unpinned"; data: InRoom<{ message_id: number; user_id: number }> }
  | { type: "typing" | "stop_typing"; data: InRoom<{ user_id: number; username: string }> }
  | { type: "message_read"; data: InRoom<{ message_id: number; user_id: number }> }
  | { type: "room_added"; data: { room: Room } }
  | { type: "room_updated"; data: { room: ChangedRoom } }
  | { type: "room_removed"; data: { room_id: number; reason: "left" | "removed" | "banned" | "deleted" } }
  | {
      type: "participant_changed";
      data: InRoom<{
        change: "joined" | "left" | "role";
        user: User;
        role: Role | null;
        participant_count: number;
      }>;
    }
  | { type: "room_presence_update"; data: { room_id: number; active_participants: string[] } }
  | { type: "call_declined"; data: { room_id: number; user_id: number; username: string } }
  | { type: "error"; detail: string; code: string; data?: { room_id: number } };

/** `to` names, in an answer, the offer that it is to; other clients leave it out. */
export type Description = RTCSessionDescriptionInit & { to?: string };

/** What peers send each other through the server, told apart by who sent it. */
export type Signal =
  | { type: "offer" | "answer"; sdp: Description | string }
  | { type: "ice_candidate"; candidate: RTCIceCandidateInit };

export type CallFrame =
  | { type: "call_state"; data: { participants: CallMember[] } }
  | { type: "user_joined"; data: { user: { id: number; username: string } } }
  | { type: "user_left"; data: { user_id: number } }
  | {
      type: "offer" | "answer";
      data: { from_user_id: number; from_username: string; sdp: Description | string };
    }
  | {
      type: "ice_candidate";
      data: { from_user_id: number; from_username: string; candidate: RTCIceCandidateInit };
    }
  | { type: "request_mic"; data: { from_user_id: number; from_username: string } }
  | { type: "error"; detail: string; code: string };
