// What people in the call are called: as the room knows them.

import { currentCall } from "../../state/call";
import { rooms } from "../../state/rooms";

export function nameOf(username: string): string {
  const room = rooms.value.get(currentCall.value?.roomId ?? 0);
  const known = room?.participant_users.find((user) => user.username === username);
  return known?.display_name || username;
}
