-- What a client is told: that something of its user has changed, by kind and id, so that it goes and fetches. Written in the
-- transaction of the change. For one user ids are in the order of commits: whoever writes one holds the user's lock.
CREATE TABLE notices (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  kind varchar(40) NOT NULL,
  subject uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Devices that have been pushed to, so that a second delivery of the message pushes to the others only.
  pushed uuid[] NOT NULL DEFAULT '{}'
);
CREATE INDEX notices_of ON notices (user_id, id);
CREATE INDEX notices_age ON notices (created_at);

-- Phones. A token belongs to one phone: whoever registers it takes it over, and shows by knowing it that the phone is theirs.
CREATE TABLE devices (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  platform varchar(10) NOT NULL CHECK (platform IN ('apns', 'fcm')),
  token varchar(4096) NOT NULL,
  token_hash bytea NOT NULL UNIQUE,
  registered_at timestamptz NOT NULL
);
CREATE INDEX devices_of ON devices (user_id);

-- Sockets that a gateway holds for us (API Gateway's WebSocket API); the service's own are held by its processes.
CREATE TABLE gateway_sockets (
  connection varchar(128) PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  opened_at timestamptz NOT NULL,
  -- The last notice that was posted to it.
  told bigint NOT NULL DEFAULT 0
);
CREATE INDEX gateway_sockets_of ON gateway_sockets (user_id);

CREATE FUNCTION ops.current_device_hash() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT decode(nullif(current_setting('app.device', true), ''), 'hex') $$;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['notices', 'devices', 'gateway_sockets']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_rows ON %s TO bio_api, bio_worker '
      'USING (user_id = ops.current_user_id()) WITH CHECK (user_id = ops.current_user_id())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO bio_api, bio_worker', t);
  END LOOP;
END $$;
CREATE POLICY by_token ON devices TO bio_api USING (token_hash = ops.current_device_hash()) WITH CHECK (false);
-- Clean-up of what is old.
CREATE POLICY every_row ON notices TO bio_worker USING (true);
CREATE POLICY every_row ON gateway_sockets TO bio_worker USING (true);

-- Tokens that we sign for a push service, shared by all processes: APNs refuses clients that mint too many.
CREATE TABLE ops.provider_tokens (
  name varchar(100) PRIMARY KEY,
  token text NOT NULL,
  minted_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON ops.provider_tokens TO bio_worker;
