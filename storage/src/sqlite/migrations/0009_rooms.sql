-- Roles, bans, topics, muting; ends of invitations.

-- 0: member, 1: moderator. Who owns the room is said by `rooms.owner_id` alone.
ALTER TABLE participants ADD COLUMN role INTEGER NOT NULL DEFAULT 0 CHECK (role IN (0, 1));
-- No notifications of the room; until then, or until the user says otherwise.
ALTER TABLE participants ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE participants ADD COLUMN muted_until INTEGER;

ALTER TABLE rooms ADD COLUMN topic TEXT NOT NULL DEFAULT '';
CREATE INDEX rooms_public ON rooms (id) WHERE is_public;

-- How often an invitation may bring somebody in (NULL: without end), and how often it has.
ALTER TABLE invitations ADD COLUMN max_uses INTEGER;
ALTER TABLE invitations ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
CREATE INDEX invitations_by_end ON invitations (expires_at) WHERE expires_at IS NOT NULL;

-- Who may not come in by any way.
CREATE TABLE bans (
    room_id    INTEGER NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    banned_by  INTEGER NOT NULL REFERENCES users (id),
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX bans_by_user ON bans (user_id);
