package imagefs

func childView(string, *fileImage) error { return nil }
