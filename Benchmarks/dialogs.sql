-- Fills a new, migrated database for the benchmarks: accounts 1 to 1,000 with an assistant and a dialog each
-- (dialogs 1 to 1,000), and account 1,001 with one assistant and dialogs 1,001 to 2,000.
-- The visitor of dialog n is `bench-visitor-of-dialog-n`.
BEGIN;

INSERT INTO accounts (name)
SELECT 'Benchmark ' || n FROM generate_series(1, 1001) AS n ORDER BY n;

INSERT INTO assistants (account_id, name, answerer, guest_access)
SELECT id, name, 'none', true FROM accounts ORDER BY id;

INSERT INTO dialogs (account_id, assistant_id, guest_hash)
SELECT least(n, 1001), least(n, 1001), sha256(convert_to('bench-visitor-of-dialog-' || n, 'UTF8'))
FROM generate_series(1, 2000) AS n ORDER BY n;

DO $$
BEGIN
    ASSERT (SELECT (min(id), max(id), count(*)) = (1, 1001, 1001) FROM accounts), 'the database is not new: accounts';
    ASSERT (SELECT (min(id), max(id), count(*)) = (1, 1001, 1001) FROM assistants), 'the database is not new: assistants';
    ASSERT (SELECT (min(id), max(id), count(*)) = (1, 2000, 2000) FROM dialogs), 'the database is not new: dialogs';
END
$$;

COMMIT;
