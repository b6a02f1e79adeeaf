-- What ip-time-ban must remember across a restart.
CREATE TABLE bans (
    source   TEXT   NOT NULL PRIMARY KEY,
    since_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    reason   TEXT   NOT NULL
);

CREATE INDEX bans_by_end ON bans (until_at);

-- Several failures at one time are one row that counts them.
CREATE TABLE failures (
    source TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    times  BIGINT NOT NULL CHECK (times > 0),
    PRIMARY KEY (source, at)
);

CREATE INDEX failures_by_time ON failures (at);
