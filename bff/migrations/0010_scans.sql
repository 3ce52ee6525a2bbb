-- A meal that is photographed is a meal_group: its photos, one analysis or more of them, and at most one row of food_logs.
CREATE TABLE scans (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  meal_group uuid NOT NULL,
  state varchar(20) NOT NULL DEFAULT 'created' CHECK (state IN ('created', 'uploaded', 'queued', 'running', 'ready',
    'failed', 'confirmed', 'rejected', 'expired')),
  -- Which of the configured vision services; null is the usual one.
  model_set varchar(50),
  job_id varchar(1000),
  plate_diameter_cm decimal(4,1) CHECK (plate_diameter_cm BETWEEN 5 AND 60),
  camera_height_cm decimal(5,1) CHECK (camera_height_cm BETWEEN 5 AND 300),
  taken_at timestamptz NOT NULL,
  meal_type varchar(20),
  note varchar(500),
  consent_training bool NOT NULL DEFAULT false,
  original_result jsonb,
  edits jsonb NOT NULL DEFAULT '[]',
  -- The original with the edits applied; null while there are none.
  corrected_result jsonb,
  has_overlay bool NOT NULL DEFAULT false,
  has_depth bool NOT NULL DEFAULT false,
  error varchar(50),
  -- Counts what a user can see change.
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  -- When the present state was entered, and when the machinery looks again.
  entered_at timestamptz NOT NULL,
  next_at timestamptz,
  -- Somebody is submitting it.
  claimed_until timestamptz,
  submissions int NOT NULL DEFAULT 0,
  failures int NOT NULL DEFAULT 0,
  webhook_hash bytea UNIQUE,
  -- A webhook came before the job's id was written.
  hinted bool NOT NULL DEFAULT false
);
CREATE INDEX scans_page ON scans (user_id, created_at DESC, id DESC);
CREATE INDEX scans_group ON scans (meal_group);
CREATE INDEX scans_due ON scans (next_at) WHERE next_at IS NOT NULL;

CREATE TABLE scan_photos (
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  meal_group uuid NOT NULL,
  position smallint NOT NULL CHECK (position BETWEEN 1 AND 6),
  s3_key varchar(200) NOT NULL UNIQUE,
  content_type varchar(50) NOT NULL,
  bytes bigint NOT NULL,
  pitch decimal(5,2) CHECK (pitch BETWEEN -10 AND 90),
  uploaded_at timestamptz,
  -- In the bucket that keeps; before that in the one for uploads.
  kept_at timestamptz,
  PRIMARY KEY (meal_group, position)
);

ALTER TABLE food_logs ADD COLUMN meal_group uuid;
-- A meal counts once, however often it was analysed or confirmed.
CREATE UNIQUE INDEX food_logs_once_a_meal ON food_logs (meal_group) WHERE meal_group IS NOT NULL;

CREATE FUNCTION ops.scan_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.original_result IS NOT NULL AND NEW.original_result IS DISTINCT FROM OLD.original_result THEN
    RAISE EXCEPTION 'the original result of a scan does not change';
  END IF;
  IF OLD.state IN ('failed', 'confirmed', 'rejected', 'expired') AND NEW.state <> OLD.state THEN
    RAISE EXCEPTION 'a scan that has ended stays as it ended';
  END IF;
  IF NEW.version <> OLD.version THEN
    PERFORM pg_notify('bff_scans', NEW.id::text);
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER scan_guard BEFORE UPDATE ON scans FOR EACH ROW EXECUTE FUNCTION ops.scan_guard();

-- Hash of the token in a webhook's address, while its scan is looked up.
CREATE FUNCTION ops.current_webhook() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT decode(nullif(current_setting('app.webhook', true), ''), 'hex') $$;

DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['scans', 'scan_photos']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_rows ON %s TO bio_api, bio_worker '
      'USING (user_id = ops.current_user_id()) WITH CHECK (user_id = ops.current_user_id())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO bio_api, bio_worker', t);
  END LOOP;
END $$;
CREATE POLICY by_webhook ON scans TO bio_api, bio_worker USING (webhook_hash = ops.current_webhook());
-- The reconciler looks after everybody's.
CREATE POLICY every_row ON scans TO bio_worker USING (true);
