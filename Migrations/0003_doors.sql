-- Visitors who are kept out or known by name, assistants that are put away, and bridges with their keys.

ALTER TABLE assistants
    -- Until then site tokens of the version before are good too: pages that are cached have time to change.
    ADD COLUMN token_grace_until timestamptz,
    -- What a customer's site signs its visitors' identities with; sealed (docs/security.md).
    ADD COLUMN identity_secret   bytea,
    -- Answers by the assistant in a day (UTC); NULL: as many as are asked for.
    ADD COLUMN daily_answers     integer CHECK (daily_answers >= 0),
    -- Put away: nobody sees it, its dialogs stay.
    ADD COLUMN deleted_at        timestamptz;

ALTER TABLE dialogs
    -- Who the customer's site says that the visitor is.
    ADD COLUMN visitor_external_id text,
    ADD COLUMN visitor_name        text,
    -- Checked for what is written from now on, so that nobody waits for the table to be read; 0004 reads it.
    ADD CONSTRAINT dialogs_visitor CHECK (length(visitor_external_id) BETWEEN 1 AND 200 AND length(visitor_name) <= 200)
        NOT VALID;

CREATE TABLE blocked_guests (
    assistant_id bigint      NOT NULL REFERENCES assistants,
    guest_hash   bytea       NOT NULL CHECK (length(guest_hash) = 32),
    operator_id  bigint      NOT NULL REFERENCES operators,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (assistant_id, guest_hash)
);

-- What an assistant has answered in a day.
CREATE TABLE answer_counts (
    assistant_id bigint  NOT NULL REFERENCES assistants,
    day          date    NOT NULL,
    answers      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (assistant_id, day)
);

CREATE TABLE bot_instances (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id     bigint      NOT NULL REFERENCES accounts,
    assistant_id   bigint      NOT NULL REFERENCES assistants,
    name           text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    platform       text        NOT NULL CHECK (platform IN ('telegram')),
    -- Sealed; only the bot's own bridge ever sees it again.
    platform_token bytea       NOT NULL,
    is_active      boolean     NOT NULL DEFAULT true,
    -- Which process polls it, and until when that holds.
    lease_holder   text        CHECK (length(lease_holder) BETWEEN 1 AND 100),
    lease_until    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);
CREATE INDEX bot_instances_account ON bot_instances (account_id, id);

CREATE TABLE api_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint      NOT NULL REFERENCES accounts,
    name         text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- SHA-256; the key itself is shown once.
    token_hash   bytea       NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    created_by   bigint      NOT NULL REFERENCES operators,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_account ON api_keys (account_id, id);

-- Which bots a key is for. Nothing here: it is for none.
CREATE TABLE api_key_bots (
    api_key_id bigint NOT NULL REFERENCES api_keys,
    bot_id     bigint NOT NULL REFERENCES bot_instances,
    PRIMARY KEY (api_key_id, bot_id)
);
