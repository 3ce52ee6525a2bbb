-- Foods by id. Units are in the names; limits are those that the service checks again on every read.
CREATE TABLE IF NOT EXISTS foods (
    id                  text PRIMARY KEY CHECK (id ~ '^[a-z0-9_]{1,80}$'),
    name                text NOT NULL UNIQUE,
    aliases             text NOT NULL DEFAULT '',
    category            text NOT NULL,
    basis               text NOT NULL CHECK (basis IN ('solid', 'pile', 'mixed', 'liquid', 'porous', 'leaf')),
    shape               text NOT NULL,
    density_g_cm3       double precision NOT NULL CHECK (density_g_cm3 BETWEEN 0.03 AND 1.6),
    density_low         double precision NOT NULL CHECK (density_low BETWEEN 0.03 AND density_g_cm3),
    density_high        double precision NOT NULL CHECK (density_high BETWEEN density_g_cm3 AND 1.6),
    piece_density_g_cm3 double precision CHECK (piece_density_g_cm3 BETWEEN 0.03 AND 1.6),
    kcal_100g           double precision NOT NULL CHECK (kcal_100g BETWEEN 0 AND 902),
    protein_100g        double precision NOT NULL CHECK (protein_100g BETWEEN 0 AND 100),
    carbs_100g          double precision NOT NULL CHECK (carbs_100g BETWEEN 0 AND 100),
    fat_100g            double precision NOT NULL CHECK (fat_100g BETWEEN 0 AND 100),
    kcal_sigma_ln       double precision NOT NULL CHECK (kcal_sigma_ln BETWEEN 0 AND 2),
    energy_note         text,
    hidden_kind         text,
    hidden_kcal_100g    double precision,
    density_source      text NOT NULL,
    nutrient_source     text NOT NULL,
    CHECK (protein_100g + carbs_100g + fat_100g <= 102),
    CHECK ((hidden_kind IS NULL) = (hidden_kcal_100g IS NULL))
);
-- Columns that older tables lack.
ALTER TABLE foods
    ADD COLUMN IF NOT EXISTS fibre_100g         double precision CHECK (fibre_100g BETWEEN 0 AND 100),
    ADD COLUMN IF NOT EXISTS sugars_100g        double precision CHECK (sugars_100g BETWEEN 0 AND 100),
    ADD COLUMN IF NOT EXISTS saturated_fat_100g double precision CHECK (saturated_fat_100g BETWEEN 0 AND 100),
    ADD COLUMN IF NOT EXISTS sodium_mg_100g     double precision CHECK (sodium_mg_100g BETWEEN 0 AND 40000),
    -- Grams of usual pieces and measures: medium=182|slice=25|cup=109
    ADD COLUMN IF NOT EXISTS units              text,
    -- core or long_tail
    ADD COLUMN IF NOT EXISTS tier               text;
