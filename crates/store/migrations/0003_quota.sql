-- Bytes counted against quotas: one row for each owner and mount.
CREATE TABLE quota (
    owner TEXT   NOT NULL PRIMARY KEY,
    used  BIGINT NOT NULL CHECK (used >= 0)
);
