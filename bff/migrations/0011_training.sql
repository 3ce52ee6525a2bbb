-- Which copies were made of whose meals. This table is all that leads back, and is there for nothing but erasure.
CREATE TABLE ops.training_copies (
  training_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  meal_group uuid NOT NULL UNIQUE,
  photos smallint NOT NULL,
  copied_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX training_copies_user ON ops.training_copies (user_id);
ALTER TABLE ops.training_copies ENABLE ROW LEVEL SECURITY;
ALTER TABLE ops.training_copies FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON ops.training_copies TO bio_api, bio_worker
  USING (user_id = ops.current_user_id()) WITH CHECK (user_id = ops.current_user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.training_copies TO bio_api, bio_worker;

-- The export for training reads confirmed meals of everybody who allows it, and only in a transaction that says so.
CREATE FUNCTION ops.is_training_export() RETURNS bool LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT current_setting('app.purpose', true) = 'training_export' $$;
CREATE POLICY training_export ON ops.training_copies TO bio_worker
  USING (ops.is_training_export()) WITH CHECK (false);
CREATE POLICY training_export ON bio_profile TO bio_worker
  USING (ops.is_training_export() AND consent_training) WITH CHECK (false);
CREATE POLICY training_export ON food_logs TO bio_worker
  USING (ops.is_training_export() AND status = 'confirmed') WITH CHECK (false);

-- Numbers only, and which row of the food table it is: no free text, no id of ours, no key, no time finer than a month.
CREATE FUNCTION ops.training_estimate(value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(value -> 'p10') = 'number' AND jsonb_typeof(value -> 'p50') = 'number'
    AND jsonb_typeof(value -> 'p90') = 'number'
    THEN jsonb_build_object('p10', value -> 'p10', 'p50', value -> 'p50', 'p90', value -> 'p90') END
$$;
CREATE FUNCTION ops.training_items(meta jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
    'food_id', CASE WHEN item ->> 'food_id' ~ '^[a-z0-9_]{1,80}$' THEN item ->> 'food_id' END,
    'mass_g', ops.training_estimate(item -> 'mass_g'), 'kcal', ops.training_estimate(item -> 'kcal'),
    'protein_g', ops.training_estimate(item -> 'protein_g'), 'carbs_g', ops.training_estimate(item -> 'carbs_g'),
    'fat_g', ops.training_estimate(item -> 'fat_g'))), '[]')
  FROM jsonb_array_elements(CASE jsonb_typeof(meta -> 'items') WHEN 'array' THEN meta -> 'items' ELSE '[]' END) AS item
$$;

CREATE VIEW training_food_logs WITH (security_invoker = true) AS
  SELECT c.training_id, to_char(l.log_time, 'YYYY-MM') AS month, l.calories, l.protein_g, l.carbs_g, l.fats_g,
    l.is_caffeine, l.is_alcohol, ops.training_items(l.meta_data) AS items
  FROM food_logs l
  JOIN ops.training_copies c USING (meal_group)
  JOIN bio_profile p ON p.user_id = c.user_id
  WHERE l.status = 'confirmed' AND p.consent_training;
GRANT SELECT ON training_food_logs TO bio_worker;
