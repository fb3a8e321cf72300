// What the signed-in user may do in a room (docs/rights.md), so that nothing is offered that the server refuses.

import type { Role, Room } from "../api/types";
import { me } from "./session";

export type Act = "invite" | "topic" | "settings" | "moderate" | "own";

const RANK: Record<Role, number> = { member: 0, moderator: 1, owner: 2 };

export function may(room: Room, act: Act): boolean {
  if (room.is_direct) return act === "topic" || (act === "settings" && room.owner.id === me().id);
  switch (act) {
    case "invite":
      return true;
    case "topic":
    case "moderate":
      return RANK[room.role] >= RANK.moderator;
    case "settings":
    case "own":
      return room.role === "owner";
  }
}

/** Against somebody: only those who are less. */
export function mayAgainst(room: Room, role: Role): boolean {
  return may(room, "moderate") && RANK[role] < RANK[room.role];
}
