CREATE TABLE yychat.usage (
    tenant text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    day date NOT NULL,
    requests bigint NOT NULL,
    input bigint NOT NULL,
    cached bigint NOT NULL,
    output bigint NOT NULL,
    micro_usd bigint NOT NULL,
    PRIMARY KEY (tenant, key, model, day)
);
CREATE INDEX usage_day ON yychat.usage (day);

COMMENT ON TABLE yychat.usage IS
    'What keys used, by model and day of UTC: tokens, and millionths of a dollar.';
