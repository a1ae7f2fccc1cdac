-- Handoffs: who speaks for the account, since when and why; who is there to speak; and everything that was done.

ALTER TABLE dialogs
    ADD COLUMN handoff_requested_at timestamptz,
    ADD COLUMN handoff_started_at   timestamptz,
    ADD COLUMN handoff_resolved_at  timestamptz,
    ADD COLUMN handoff_deadline     timestamptz,
    ADD COLUMN handoff_reason       text,
    -- What makes a repeated request the same one.
    ADD COLUMN handoff_request_id   uuid;

-- How many dialogs an operator has is counted here, never kept in a number of its own.
CREATE INDEX dialogs_active_of ON dialogs (assigned_operator_id, channel) WHERE handoff_status = 'active';
-- The queue of an account.
CREATE INDEX dialogs_queue ON dialogs (account_id, handoff_requested_at, id) WHERE handoff_status = 'requested';

ALTER TABLE operators
    -- What an operator says of themselves, and when they were last seen; present is who is online and was seen lately.
    ADD COLUMN presence          text        NOT NULL DEFAULT 'online' CHECK (presence IN ('online', 'away', 'offline')),
    ADD COLUMN seen_at           timestamptz,
    ADD COLUMN web_capacity      integer     NOT NULL DEFAULT 3 CHECK (web_capacity BETWEEN 0 AND 1000),
    ADD COLUMN telegram_capacity integer     NOT NULL DEFAULT 5 CHECK (telegram_capacity BETWEEN 0 AND 1000);

ALTER TABLE assistants
    ADD COLUMN handoff_deadline_seconds integer NOT NULL DEFAULT 600 CHECK (handoff_deadline_seconds BETWEEN 10 AND 86400);

-- A row for each transition: the dialog's epochs without a hole.
CREATE TABLE handoff_audit (
    dialog_id   bigint      NOT NULL REFERENCES dialogs,
    epoch       bigint      NOT NULL,
    account_id  bigint      NOT NULL REFERENCES accounts,
    command     text        NOT NULL,
    from_status text        NOT NULL,
    to_status   text        NOT NULL,
    -- 'visitor', 'assistant', 'detector', 'clock', 'operator:7'.
    actor       text        NOT NULL,
    -- Who speaks from now on.
    operator_id bigint      REFERENCES operators,
    reason      text,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (dialog_id, epoch)
);
