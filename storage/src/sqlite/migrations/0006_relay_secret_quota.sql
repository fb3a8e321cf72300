-- Bytes that are relayed in a month for all for whom the program makes credentials.
ALTER TABLE relay_secrets ADD COLUMN max_bytes_per_month INTEGER;
