-- Accounts for which a device's password is fixed. Only keys are stored: hashes of name, realm and password, good in that
-- realm alone.
CREATE TABLE relay_devices (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    realm      TEXT    NOT NULL,
    md5_key    BLOB    NOT NULL,
    sha256_key BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
