ALTER TABLE orders ADD COLUMN _banyan_old_note text;
ALTER TABLE orders DROP COLUMN note;
