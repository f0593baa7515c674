CREATE TABLE yychat.erasures (
    tenant text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('', 'user', 'conversation')),
    holder text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (tenant, kind, holder, conversation)
);
CREATE INDEX erasures_at ON yychat.erasures (at);

COMMENT ON TABLE yychat.erasures IS
    'What was erased, and when, in Unix microseconds: what began before is not saved. An empty kind or conversation is any. Kept for 30 days.';

-- Statistics would keep samples of what was erased.
ALTER TABLE yychat.records ALTER COLUMN text SET STATISTICS 0;
ALTER TABLE yychat.records ALTER COLUMN history SET STATISTICS 0;
