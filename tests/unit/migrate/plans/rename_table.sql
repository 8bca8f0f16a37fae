ALTER TABLE journal RENAME TO diary;
