CREATE TABLE users (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  email varchar(255) UNIQUE NOT NULL,
  cognito_sub varchar(255) UNIQUE,
  created_at timestamptz DEFAULT now(),
  tier varchar(50) DEFAULT 'free' CHECK (tier IN ('free', 'pro_monthly', 'pro_annual'))
);

CREATE TABLE bio_profile (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  height_cm int CHECK (height_cm BETWEEN 50 AND 280),
  weight_kg decimal(5,2) CHECK (weight_kg BETWEEN 2 AND 700),
  birth_date date,
  gender varchar(20),
  primary_goal varchar(50),
  dietary_preference varchar(50),
  allergies text[],
  dislikes text[],
  is_fasting_enabled bool NOT NULL DEFAULT false,
  fasting_start_time time,
  fasting_end_time time,
  timezone varchar(64),
  wake_time time,
  sleep_time time,
  plate_diameter_cm decimal(4,1) CHECK (plate_diameter_cm BETWEEN 5 AND 60),
  consent_training bool NOT NULL DEFAULT false
);

-- At most one row for a user, source and instant; the instant is the start of a 15-minute slot, or of a sample that
-- begins inside one. No row security here: TimescaleDB refuses compression and continuous aggregates with it. The one
-- door is the repository type in src/store/health_metrics.rs, whose every statement is bound to ops.current_user_id().
CREATE TABLE health_metrics (
  time timestamptz NOT NULL,
  user_id uuid NOT NULL REFERENCES users (id),
  source varchar(50) NOT NULL,
  steps_delta int,
  active_energy_kcal decimal,
  resting_hr int,
  hrv_ms int,
  sleep_score int,
  hrv_kind varchar(10) CHECK (hrv_kind IN ('rmssd', 'sdnn')),
  subj_feel int,
  device varchar(100),
  UNIQUE (time, user_id, source)
);
CREATE INDEX health_metrics_user_time ON health_metrics (user_id, time DESC);
CREATE INDEX health_metrics_time_brin ON health_metrics USING brin (time)
  WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE pantry_inventory (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  item_name varchar(100) NOT NULL,
  category varchar(50),
  expiry_date date,
  is_deleted bool NOT NULL DEFAULT false
);
CREATE INDEX pantry_inventory_page ON pantry_inventory (user_id, expiry_date, id) WHERE NOT is_deleted;

CREATE TABLE leftovers (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  recipe_name varchar(150) NOT NULL,
  total_servings decimal(4,1) NOT NULL CHECK (total_servings > 0),
  remaining_servings decimal(4,1) NOT NULL CHECK (remaining_servings >= 0 AND remaining_servings <= total_servings),
  calories_per_serving int NOT NULL CHECK (calories_per_serving >= 0),
  macros_json jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  is_active bool GENERATED ALWAYS AS (remaining_servings > 0) STORED
);
CREATE INDEX leftovers_page ON leftovers (user_id, created_at DESC, id DESC);

CREATE TABLE food_logs (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  log_time timestamptz NOT NULL,
  food_name varchar(200) NOT NULL,
  calories int,
  protein_g int,
  carbs_g int,
  fats_g int,
  meal_type varchar(20),
  is_caffeine bool NOT NULL DEFAULT false,
  is_alcohol bool NOT NULL DEFAULT false,
  meta_data jsonb NOT NULL DEFAULT '{}',
  status varchar(30) NOT NULL DEFAULT 'confirmed' CHECK (status IN ('pending_confirmation', 'confirmed', 'rejected')),
  scan_id uuid
);
CREATE INDEX food_logs_page ON food_logs (user_id, log_time DESC, id DESC);

CREATE TABLE daily_plan (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  date date NOT NULL,
  target_calories int,
  target_protein int,
  next_meal_suggestion jsonb,
  rejected_suggestions jsonb[] NOT NULL DEFAULT '{}',
  energy_score decimal(4,1),
  UNIQUE (user_id, date)
);

CREATE TABLE idempotency_keys (
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  method varchar(10) NOT NULL,
  path varchar(100) NOT NULL,
  key varchar(255) NOT NULL,
  fingerprint bytea NOT NULL,
  status smallint NOT NULL,
  body bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, method, path, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- Events, written in the transaction of what caused them. Rows leave when the queue has the message; ids are taken
-- before commit, so nothing may read "all above the last id".
CREATE TABLE outbox (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  event_id uuid NOT NULL DEFAULT uuid_generate_v4(),
  kind varchar(50) NOT NULL,
  dedup_key varchar(200),
  payload jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  next_at timestamptz NOT NULL DEFAULT now(),
  attempts int NOT NULL DEFAULT 0,
  last_error text,
  dead_at timestamptz
);
CREATE INDEX outbox_due ON outbox (next_at) WHERE dead_at IS NULL;

CREATE TABLE sync_cursors (
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  device varchar(100) NOT NULL,
  cursor varchar(200) NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, device)
);

-- Append only: what was asked, in which wording, and what the person said.
CREATE TABLE consents (
  id uuid PRIMARY KEY DEFAULT uuid_generate_v4(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  purpose varchar(50) NOT NULL,
  granted bool NOT NULL,
  text_version varchar(50) NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX consents_latest ON consents (user_id, purpose, created_at DESC);
