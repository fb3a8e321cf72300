-- Goes up whenever all sign-ins of the user are ended at once; relay credentials of an earlier one are void.
ALTER TABLE users ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
