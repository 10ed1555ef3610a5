-- Who has decided about a dead letter, and why it was reissued (`discard_reason` says why one was discarded).

-- Both are unknown for a decision that was made with the command of the worker. Adding the columns takes no time.
ALTER TABLE dead_letters
    ADD COLUMN resolved_by    text,
    ADD COLUMN reissue_reason text;
