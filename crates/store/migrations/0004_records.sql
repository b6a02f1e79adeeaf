-- What parts of the server remember over a restart: text in named spaces.
CREATE TABLE records (
    space TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (space, name)
);

-- Secrets, encrypted under a key that is kept elsewhere; nonce, ciphertext and key's fingerprint are base64.
CREATE TABLE sealed (
    name    TEXT   NOT NULL PRIMARY KEY,
    sealer  TEXT   NOT NULL,
    nonce   TEXT   NOT NULL,
    value   TEXT   NOT NULL,
    changed BIGINT NOT NULL
);
