-- Second net under the repositories. FORCE binds the owner too, who has no policy and so sees no row of these tables.
DO $$
DECLARE t regclass;
BEGIN
  FOREACH t IN ARRAY ARRAY['bio_profile', 'pantry_inventory', 'leftovers', 'food_logs', 'daily_plan',
    'idempotency_keys', 'outbox', 'sync_cursors', 'consents', 'ops.days', 'ops.exports']::regclass[] LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_rows ON %s TO bio_api, bio_worker '
      'USING (user_id = ops.current_user_id()) WITH CHECK (user_id = ops.current_user_id())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO bio_api, bio_worker', t);
  END LOOP;
END $$;

-- A user is found by the verified subject before the id is known.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY own_row ON users TO bio_api, bio_worker
  USING (id = ops.current_user_id() OR cognito_sub = ops.current_subject())
  WITH CHECK (id = ops.current_user_id() OR cognito_sub = ops.current_subject());
GRANT SELECT, INSERT, UPDATE, DELETE ON users TO bio_api, bio_worker;

-- The relay and the erasure serve every user; so does the clean-up of old keys and exports.
CREATE POLICY every_row ON outbox TO bio_worker USING (true);
CREATE POLICY every_row ON idempotency_keys TO bio_worker USING (true);
CREATE POLICY every_row ON ops.exports TO bio_worker USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON health_metrics TO bio_api, bio_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.messages TO bio_worker;
GRANT SELECT, INSERT, UPDATE ON ops.erasures TO bio_api, bio_worker;
GRANT DELETE ON ops.erasures TO bio_worker;
