package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/sirupsen/logrus"
)

// compose loads a project as `docker compose` does, in an environment of these variables alone. What
// the loader only warns of, such as a variable that has no value, is refused.
func compose(file string, environment []string) (any, error) {
	var warnings bytes.Buffer
	logrus.SetOutput(&warnings)
	options, err := cli.NewProjectOptions(
		[]string{file},
		cli.WithEnv(environment),
		cli.WithInterpolation(true),
		cli.WithNormalization(true),
		cli.WithConsistency(true),
		cli.WithResolvedPaths(true),
	)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return nil, err
	}
	if warnings.Len() > 0 {
		return nil, fmt.Errorf("%s: %s", file, warnings.String())
	}
	return project, nil
}
