-- Menus of restaurants by normalised name, of nobody's in particular. Of Google Places only the place id is kept, which its
-- terms allow without limit; no name, address or coordinate of it. `display_name` and the menu are the model's, checked.
CREATE TABLE restaurant_cache (
  name_key varchar(80) PRIMARY KEY,
  id uuid NOT NULL UNIQUE DEFAULT uuid_generate_v4(),
  display_name varchar(120),
  menu jsonb,
  source varchar(40),
  fetched_at timestamptz,
  expires_at timestamptz,
  place_id varchar(300),
  place_seen_at timestamptz,
  -- The one who fetches: for others there is nothing to do but wait until this is over.
  claimed_until timestamptz,
  -- What the last try failed with, and until when no other is made.
  failure varchar(40),
  retry_at timestamptz,
  touched_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((menu IS NULL) = (expires_at IS NULL))
);
GRANT SELECT, INSERT, UPDATE ON restaurant_cache TO bio_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON restaurant_cache TO bio_worker;

-- Fetches that a user has caused in a day of UTC.
CREATE TABLE menu_budgets (
  user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
  date date NOT NULL,
  spent int NOT NULL CHECK (spent > 0)
);
ALTER TABLE menu_budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE menu_budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON menu_budgets TO bio_api, bio_worker
  USING (user_id = ops.current_user_id()) WITH CHECK (user_id = ops.current_user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON menu_budgets TO bio_api, bio_worker;
