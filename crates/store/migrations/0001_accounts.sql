-- Accounts of both audiences, their keys, and the counters by which changes are noticed.
-- Times are microseconds since 1970-01-01 UTC; flags are 0 or 1; lists are JSON arrays.
CREATE TABLE accounts (
    audience   TEXT   NOT NULL CHECK (audience IN ('transfer', 'admin')),
    name       TEXT   NOT NULL,
    member_of  TEXT   NOT NULL,
    password   TEXT,
    disabled   BIGINT NOT NULL CHECK (disabled IN (0, 1)),
    expires    BIGINT,
    mail       TEXT,
    created    BIGINT NOT NULL,
    last_login BIGINT,
    PRIMARY KEY (audience, name)
);

CREATE TABLE account_keys (
    audience    TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    position    BIGINT NOT NULL,
    line        TEXT   NOT NULL,
    label       TEXT   NOT NULL,
    PRIMARY KEY (audience, name, fingerprint),
    FOREIGN KEY (audience, name) REFERENCES accounts (audience, name) ON DELETE CASCADE
);

CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('accounts', 1);
