-- banyan: backfill "Odd"."Order ""lines""".straße = "Käufer's name" || ' 1'
ALTER TABLE "Odd"."Order ""lines""" ADD COLUMN straße text NOT NULL;
ALTER TABLE "Odd"."Order ""lines""" DROP COLUMN "a_column_with_a_name_that_is_as_long_as_a_name_can_be_in_here_63";
