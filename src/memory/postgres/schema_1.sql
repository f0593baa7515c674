-- Text cannot hold NUL: U+0000 is written as U+001A 0, and U+001A as U+001A 1.

CREATE TABLE yychat.scopes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('user', 'conversation')),
    holder text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    records bigint NOT NULL DEFAULT 0,
    UNIQUE (tenant, kind, holder)
) WITH (fillfactor = 70);

CREATE TABLE yychat.records (
    scope bigint NOT NULL REFERENCES yychat.scopes (id),
    id uuid NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    conversation text COLLATE "C",
    role text COLLATE "C" NOT NULL,
    text text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    request_id text COLLATE "C",
    generation bigint NOT NULL,
    history text COLLATE "C" NOT NULL,
    derived_from uuid[] NOT NULL,
    checksum bigint NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX records_tenant ON yychat.records (tenant, id);
CREATE INDEX records_conversation ON yychat.records (tenant, conversation, id)
    WHERE conversation IS NOT NULL;

CREATE TABLE yychat.vectors (
    scope bigint NOT NULL,
    id uuid NOT NULL,
    vector bytea NOT NULL,
    PRIMARY KEY (scope, id),
    FOREIGN KEY (scope, id) REFERENCES yychat.records (scope, id) ON DELETE CASCADE
);

CREATE TABLE yychat.pending (
    scope bigint NOT NULL REFERENCES yychat.scopes (id),
    id uuid NOT NULL,
    records uuid[] NOT NULL,
    due bigint NOT NULL,
    failures integer NOT NULL,
    PRIMARY KEY (scope, id)
);
CREATE INDEX pending_due ON yychat.pending (due, scope, id);

COMMENT ON TABLE yychat.scopes IS
    'Whose memory: a user''s within a tenant, or a conversation''s. The version rises by one with each set of changes.';
COMMENT ON TABLE yychat.records IS
    'Memories. Times are Unix milliseconds. The checksum covers every column: change them through yychat alone.';
COMMENT ON TABLE yychat.vectors IS
    'Embeddings, derived from the texts: checksum, space, hash of the text, then 8 bits a dimension.';
COMMENT ON TABLE yychat.pending IS
    'Exchanges whose facts are to be extracted, by their first record, and when, in Unix milliseconds.';
