-- A migration of its own: it reads the table without keeping anybody from it.
ALTER TABLE dialogs VALIDATE CONSTRAINT dialogs_visitor;
