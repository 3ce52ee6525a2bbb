-- The queue on PostgreSQL: the semantics of SQS, claimed with SKIP LOCKED.
CREATE TABLE ops.messages (
  id uuid PRIMARY KEY,
  queue varchar(50) NOT NULL,
  body jsonb NOT NULL,
  dedup_key varchar(200),
  sent_at timestamptz NOT NULL DEFAULT now(),
  visible_at timestamptz NOT NULL DEFAULT now(),
  receipt uuid,
  attempts int NOT NULL DEFAULT 0,
  dead_at timestamptz
);
CREATE INDEX messages_due ON ops.messages (queue, visible_at) WHERE dead_at IS NULL;
CREATE UNIQUE INDEX messages_dedup ON ops.messages (queue, dedup_key) WHERE dedup_key IS NOT NULL;

-- Where each local day of a user was lived: history keeps its zone after a flight.
CREATE TABLE ops.days (
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  date date NOT NULL,
  timezone varchar(64) NOT NULL,
  PRIMARY KEY (user_id, date)
);

-- Erasures under way and done. The subject is kept as a keyed hash for as long as an old token could still arrive.
CREATE TABLE ops.erasures (
  subject_hash bytea PRIMARY KEY,
  erased uuid NOT NULL UNIQUE,
  requested_at timestamptz NOT NULL DEFAULT now(),
  steps_done text[] NOT NULL DEFAULT '{}',
  finished_at timestamptz
);

CREATE TABLE ops.exports (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  state varchar(20) NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'ready', 'failed')),
  object_key text,
  bytes bigint,
  sha256 text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
CREATE INDEX exports_latest ON ops.exports (user_id, created_at DESC);
