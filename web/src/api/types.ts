// The objects of the wire API as the server sends them. Ids are positive integers, times RFC 3339 UTC.

export interface User {
  id: number;
  username: string;
  display_name: string;
  avatar_url: string;
}

/** The signed-in user; the server fills these fields in for oneself alone. */
export interface Me extends User {
  email: string;
  is_admin: boolean;
}

export interface Room {
  id: number;
  name: string;
  owner: User;
  participant_count: number;
  /** Usernames. */
  active_call_participants: string[];
  /** `unread_count` and `is_pinned` are the asking user's. */
  unread_count: number;
  is_pinned: boolean;
  participant_users: { id: number; username: string; display_name: string }[];
  is_direct: boolean;
  created_at: string;
  updated_at: string;
}

export interface RoomParticipant {
  id: number;
  user: User;
  joined_at: string;
  /** Owns the room. */
  is_admin: boolean;
}

export interface Message {
  id: number;
  room: number;
  author: User;
  content: string;
  created_at: string;
}

export interface Page<T> {
  count: number;
  next: string | null;
  results: T[];
}

export interface Session {
  token: string;
  user: Me;
}

export interface ServerConfig {
  public_url: string;
  version: string;
  registration: "code" | "open" | "closed";
  limits: {
    message_length: number;
    username_length: number;
    password_min_length: number;
    room_name_length: number;
  };
}

export interface Invitation {
  token: string;
  expires_at: string | null;
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

export type NotificationFrame =
  | { type: "room_added"; room: Room }
  | { type: "room_presence_update"; room_id: number; active_participants: string[] };

export type ChatFrame = { type: "chat_message"; data: Message };

/** What peers send each other through the server, told apart by who sent it. */
export type Signal =
  | { type: "offer" | "answer"; sdp: RTCSessionDescriptionInit | string }
  | { type: "ice_candidate"; candidate: RTCIceCandidateInit };

export type CallFrame =
  | { type: "call_state"; data: { participants: CallMember[] } }
  | { type: "user_joined"; data: { user: { id: number; username: string } } }
  | { type: "user_left"; data: { user_id: number } }
  | {
      type: "offer" | "answer";
      data: { from_user_id: number; from_username: string; sdp: RTCSessionDescriptionInit | string };
    }
  | {
      type: "ice_candidate";
      data: { from_user_id: number; from_username: string; candidate: RTCIceCandidateInit };
    }
  | { type: "error"; detail: string; code: string };
