-- Files and what they are attached to. The bytes lie beside the database, named by their SHA-256.
CREATE TABLE files (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    hash          BLOB    NOT NULL,
    uploader_id   INTEGER NOT NULL REFERENCES users (id),
    name          TEXT    NOT NULL,
    content_type  TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    width         INTEGER,
    height        INTEGER,
    has_thumbnail INTEGER NOT NULL,
    attached      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX files_by_hash ON files (hash);
CREATE INDEX files_unattached ON files (created_at, uploader_id) WHERE NOT attached;

-- A file is attached once.
CREATE TABLE attachments (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    file_id    INTEGER NOT NULL UNIQUE REFERENCES files (id)
) STRICT;
CREATE INDEX attachments_by_message ON attachments (message_id);

-- What each user's files take, so that a quota costs the same however many there are.
CREATE TABLE file_usage (
    user_id INTEGER PRIMARY KEY REFERENCES users (id),
    files   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;

-- Bytes on the disk that perhaps nothing refers to: what is about to be stored, and what has lost a reference.
CREATE TABLE loose_blobs (
    hash BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

ALTER TABLE users ADD COLUMN avatar_hash BLOB;
CREATE INDEX users_by_avatar ON users (avatar_hash) WHERE avatar_hash IS NOT NULL;

CREATE TRIGGER file_added AFTER INSERT ON files BEGIN
    INSERT INTO file_usage (user_id, files, bytes) VALUES (NEW.uploader_id, 1, NEW.size)
        ON CONFLICT (user_id) DO UPDATE SET files = files + 1, bytes = bytes + NEW.size;
    DELETE FROM loose_blobs WHERE hash = NEW.hash;
END;

CREATE TRIGGER file_removed AFTER DELETE ON files BEGIN
    UPDATE file_usage SET files = files - 1, bytes = bytes - OLD.size WHERE user_id = OLD.uploader_id;
    INSERT INTO loose_blobs (hash) VALUES (OLD.hash) ON CONFLICT DO NOTHING;
END;

-- However a message goes: by itself, or with its room.
CREATE TRIGGER attachment_removed AFTER DELETE ON attachments BEGIN
    DELETE FROM files WHERE id = OLD.file_id;
END;

CREATE TRIGGER avatar_changed AFTER UPDATE OF avatar_hash ON users WHEN OLD.avatar_hash IS NOT NEW.avatar_hash BEGIN
    INSERT INTO loose_blobs (hash) SELECT OLD.avatar_hash WHERE OLD.avatar_hash IS NOT NULL
        ON CONFLICT DO NOTHING;
    DELETE FROM loose_blobs WHERE hash = NEW.avatar_hash;
END;
