-- The baseline: what one message costs when it has a transaction of its own. One call takes the same locks in the same
-- order as the server, looks up the same known key after them, and writes the same rows; the server differs in
-- sharing the transaction and its commit among the messages that wait.
CREATE SCHEMA bench;

CREATE FUNCTION bench.single_message(the_account bigint, the_dialog bigint, guest text, key uuid, body text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    account    record;
    dialog     record;
    message_id bigint;
    moment     timestamptz;
    payload    text;
BEGIN
    SELECT a.last_seq, g.generation INTO STRICT account
    FROM accounts a, log_generation g
    WHERE a.id = the_account FOR NO KEY UPDATE OF a;

    SELECT assistant_id, channel, guest_hash, status, last_seq, last_message_id, handoff_status, handoff_epoch,
           created_at, updated_at, closed_at
    INTO STRICT dialog
    FROM dialogs
    WHERE id = the_dialog AND account_id = the_account FOR NO KEY UPDATE;

    IF dialog.guest_hash <> sha256(convert_to(guest, 'UTF8')) THEN
        RAISE EXCEPTION 'dialog % is not this visitor''s', the_dialog;
    END IF;

    -- A statement after the locks, so that it sees what was committed before they were had.
    SELECT id INTO message_id
    FROM messages
    WHERE dialog_id = the_dialog AND client_message_id = key AND principal = 'visitor';
    IF FOUND THEN
        RETURN message_id;
    END IF;
    IF dialog.status <> 'open' THEN
        RAISE EXCEPTION 'dialog % is closed', the_dialog;
    END IF;

    message_id := nextval('messages_id_seq');
    moment := clock_timestamp();
    payload := '{"message":{"id":' || message_id || ',"dialog_id":' || the_dialog || ',"seq":' || dialog.last_seq + 1
        || ',"sender":"user","text":' || to_json(body)
        || ',"timestamp":"' || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        || '","message_kind":"text","client_message_id":"' || key || '"}}';

    INSERT INTO messages (id, account_id, dialog_id, seq, sender, text, principal, client_message_id, created_at)
    OVERRIDING SYSTEM VALUE
    VALUES (message_id, the_account, the_dialog, dialog.last_seq + 1, 'user', body, 'visitor', key, moment);

    INSERT INTO events (account_id, seq, dialog_id, dialog_seq, type, payload, created_at)
    VALUES (the_account, account.last_seq + 1, the_dialog, dialog.last_seq + 1, 'message:new', payload::json, moment);

    UPDATE accounts SET last_seq = account.last_seq + 1 WHERE id = the_account;

    UPDATE dialogs SET last_seq = dialog.last_seq + 1, last_message_id = message_id, updated_at = moment
    WHERE id = the_dialog;

    RETURN message_id;
END
$$;

-- One commit and nothing else worth mentioning: what the machine's disk makes of it.
CREATE TABLE bench.one_row (n bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO bench.one_row VALUES (0);
