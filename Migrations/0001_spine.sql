-- The spine: accounts with their people and assistants, dialogs, messages, and the log of events.
-- Names on the wire are in docs/openapi.yaml; why it is built so, in docs/architecture.md.

-- The number in front of every cursor. Numbers of events can be used twice only after a restore or a
-- promotion; then it rises, and every older cursor is answered by a reset.
CREATE TABLE log_generation (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation        bigint  NOT NULL DEFAULT 1,
    system_identifier bigint,
    timeline          bigint
);
INSERT INTO log_generation DEFAULT VALUES;

CREATE TABLE accounts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- The newest event's number; given out under this row's lock, which is held until commit.
    last_seq   bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
)
-- Rows that change with every message: room on the page keeps the updates off the indexes (HOT).
WITH (fillfactor = 50);

CREATE TABLE operators (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id    bigint      NOT NULL REFERENCES accounts,
    email         text        NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    password_hash text        NOT NULL,
    first_name    text        NOT NULL DEFAULT '' CHECK (length(first_name) <= 200),
    role          text        NOT NULL CHECK (role IN ('owner', 'admin', 'operator')),
    is_active     boolean     NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX operators_email ON operators (lower(email));
CREATE INDEX operators_account ON operators (account_id);

CREATE TABLE assistants (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id      bigint      NOT NULL REFERENCES accounts,
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    ai_model        text        NOT NULL DEFAULT '',
    answerer        text        NOT NULL DEFAULT 'knowledge' CHECK (answerer IN ('knowledge', 'chat_completions', 'none')),
    system_prompt   text        NOT NULL DEFAULT '',
    locale          text        NOT NULL DEFAULT 'ru' CHECK (locale IN ('ru', 'en')),
    is_active       boolean     NOT NULL DEFAULT true,
    guest_access    boolean     NOT NULL DEFAULT false,
    allowed_domains text[]      NOT NULL DEFAULT '{}',
    operator_name   text        NOT NULL DEFAULT '',
    business_name   text        NOT NULL DEFAULT '',
    avatar_url      text        NOT NULL DEFAULT '',
    widget_theme    text        NOT NULL DEFAULT 'blue',
    widget_settings json        NOT NULL DEFAULT '{}',
    -- Named by every site token; raising it revokes them all.
    token_version   integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assistants_account ON assistants (account_id, id);

CREATE TABLE dialogs (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id           bigint      NOT NULL REFERENCES accounts,
    assistant_id         bigint      NOT NULL REFERENCES assistants,
    channel              text        NOT NULL DEFAULT 'web' CHECK (channel IN ('web', 'telegram')),
    -- SHA-256 of the visitor's secret; the secret itself is nowhere in the database.
    guest_hash           bytea       NOT NULL CHECK (length(guest_hash) = 32),
    status               text        NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    -- The newest public event's number, as accounts.last_seq is for the account.
    last_seq             bigint      NOT NULL DEFAULT 0,
    last_message_id      bigint,
    handoff_status       text        NOT NULL DEFAULT 'none'
        CHECK (handoff_status IN ('none', 'requested', 'active', 'released', 'cancelled')),
    handoff_epoch        bigint      NOT NULL DEFAULT 0,
    assigned_operator_id bigint REFERENCES operators,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now(),
    closed_at            timestamptz
)
WITH (fillfactor = 50);
CREATE UNIQUE INDEX dialogs_one_open ON dialogs (assistant_id, guest_hash) WHERE status = 'open';
CREATE INDEX dialogs_guest ON dialogs (assistant_id, guest_hash, id);
-- A dialog shows in an operator's list from its first message on. By id, not by updated_at: an index on
-- a column that every message changes would cost every message an index entry.
CREATE INDEX dialogs_account ON dialogs (account_id, id);

CREATE TABLE messages (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id        bigint      NOT NULL,
    dialog_id         bigint      NOT NULL REFERENCES dialogs,
    -- The dialog's number of the event that announced it; NULL for what visitors must not see.
    seq               bigint,
    sender            text        NOT NULL CHECK (sender IN ('user', 'assistant', 'manager', 'system')),
    text              text        NOT NULL CHECK (length(text) BETWEEN 1 AND 10000),
    message_kind      text        NOT NULL DEFAULT 'text',
    system_type       text,
    -- Who sent it, for idempotency: 'visitor', 'assistant', 'operator:7'.
    principal         text        NOT NULL,
    client_message_id uuid        NOT NULL,
    author_id         bigint REFERENCES operators,
    created_at        timestamptz NOT NULL
);
CREATE UNIQUE INDEX messages_key ON messages (dialog_id, client_message_id, principal);
CREATE INDEX messages_dialog ON messages (dialog_id, id);

-- Every change, in commit order, as it is sent. Gapless in both numbers.
CREATE TABLE events (
    account_id bigint      NOT NULL,
    seq        bigint      NOT NULL,
    dialog_id  bigint,
    dialog_seq bigint,
    type       text        NOT NULL,
    payload    json        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, seq)
);
CREATE UNIQUE INDEX events_dialog ON events (dialog_id, dialog_seq) WHERE dialog_seq IS NOT NULL;
