SET search_path = other;
SAVEPOINT here;
