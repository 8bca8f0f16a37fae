DO $$ BEGIN RAISE NOTICE 'nothing'; END $$;
