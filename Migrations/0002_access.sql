-- Who may do what: sessions that can be ended, invitations, one-time links, and what happened.

-- A login that lasts, until it is ended. Nothing in it lets whoever reads this table log in.
CREATE TABLE sessions (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    operator_id bigint      NOT NULL REFERENCES operators,
    -- 'panel': an opaque cookie, which slides. 'program': refresh tokens, each used once.
    kind        text        NOT NULL CHECK (kind IN ('panel', 'program')),
    -- The cookie's SHA-256.
    token_hash  bytea       CHECK (length(token_hash) = 32),
    -- The number of the newest refresh token, and since when it is.
    rotation    bigint      NOT NULL DEFAULT 0,
    rotated_at  timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    used_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz,
    CHECK ((kind = 'panel') = (token_hash IS NOT NULL))
);
CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_operator ON sessions (operator_id) WHERE revoked_at IS NULL;

-- One-time links: to join an account, and to set a new password.
CREATE TABLE one_time_links (
    token_hash  bytea       PRIMARY KEY CHECK (length(token_hash) = 32),
    account_id  bigint      NOT NULL REFERENCES accounts,
    purpose     text        NOT NULL CHECK (purpose IN ('invitation', 'reset')),
    -- Of an invitation: who is to join, and as what.
    email       text        CHECK (length(email) BETWEEN 3 AND 254),
    role        text        CHECK (role IN ('owner', 'admin', 'operator')),
    -- Of a reset: whose password.
    operator_id bigint      REFERENCES operators,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    CHECK (CASE purpose WHEN 'invitation' THEN email IS NOT NULL AND role IS NOT NULL ELSE operator_id IS NOT NULL END)
);
CREATE INDEX one_time_links_account ON one_time_links (account_id);

-- Who did what to whose access, and from where. Never a secret, never a message.
CREATE TABLE security_events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint      REFERENCES accounts,
    -- 'operator:7', 'anonymous', 'system'.
    actor      text        NOT NULL CHECK (length(actor) <= 100),
    action     text        NOT NULL CHECK (length(action) <= 100),
    -- What it was done to: 'operator:8', 'session:…', 'assistant:3'.
    subject    text        NOT NULL DEFAULT '' CHECK (length(subject) <= 200),
    address    text        NOT NULL DEFAULT '' CHECK (length(address) <= 100),
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX security_events_account ON security_events (account_id, id);
