-- For nodes.sh, with -v dialogs: as many dialogs more, from 2,001 on, dealt out over accounts 1 to 1,000, each with its
-- first message behind it; and a table for what the readers got.
BEGIN;

INSERT INTO dialogs (account_id, assistant_id, guest_hash)
SELECT (n - 1) % 1000 + 1, (n - 1) % 1000 + 1, sha256(convert_to('bench-visitor-of-dialog-' || n, 'UTF8'))
FROM generate_series(2001, 2000 + :dialogs) AS n ORDER BY n;

SELECT count(bench.single_message(account_id, id, 'bench-visitor-of-dialog-' || id, gen_random_uuid(), 'First')) AS "first messages"
FROM dialogs WHERE id > 2000;

-- A reader's first copy of a message. `received`: microseconds since 1970.
CREATE UNLOGGED TABLE bench.receipts (
    round             int     NOT NULL,
    client_message_id uuid    NOT NULL,
    same_node         boolean NOT NULL,
    received          bigint  NOT NULL
);

-- The same with the message's own times: `written`, read after the locks and before the inserts, which the event
-- carries as `at`; `committed`, when PostgreSQL made the commit record, before it was flushed.
CREATE VIEW bench.deliveries AS
SELECT r.round, r.same_node,
    (r.received - extract(epoch FROM m.created_at) * 1000000) / 1000.0 AS written_ms,
    (r.received - extract(epoch FROM pg_xact_commit_timestamp(m.xmin)) * 1000000) / 1000.0 AS committed_ms
FROM bench.receipts r JOIN messages m USING (client_message_id);

COMMIT;
