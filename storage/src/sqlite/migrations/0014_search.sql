-- Search: an index of the words in messages, by their ids, and what of it is yet to be done.

-- Tokens as `sqlite/search/words.rs` makes them. It keeps no text, and no places in it: what it finds is looked for in the
-- message as it is now.
CREATE VIRTUAL TABLE search_index USING fts5 (
    tokens, content = '', contentless_delete = 1, detail = none, prefix = '2 3 4 6 9', tokenize = "ascii tokenchars '#@='"
);

-- All messages from `low` to `high` are in the index, made by this version of its words.
CREATE TABLE search_state (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    low     INTEGER NOT NULL,
    high    INTEGER NOT NULL
) STRICT;
INSERT INTO search_state (id, version, low, high) VALUES (1, 0, 1, 0);

-- Messages whose text has changed or gone, once for each time.
CREATE TABLE search_pending (
    id         INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL
) STRICT;

CREATE TRIGGER message_text_changed AFTER UPDATE OF content ON messages BEGIN
    INSERT INTO search_pending (message_id) VALUES (NEW.id);
END;
CREATE TRIGGER message_text_gone AFTER DELETE ON messages BEGIN
    INSERT INTO search_pending (message_id) VALUES (OLD.id);
END;
