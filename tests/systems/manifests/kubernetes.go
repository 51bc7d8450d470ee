package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/yannh/kubeconform/pkg/validator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kubernetes builds a kustomization and holds each of its objects against its schema with kubeconform.
// An object for which there is no schema is refused.
func kubernetes(directory, schemas string) (any, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return nil, err
	}
	var objects []object
	var refused []error
	for _, each := range built.Resources() {
		text, err := each.AsYAML()
		if err != nil {
			return nil, err
		}
		if err := conforms(text, each, schemas); err != nil {
			refused = append(refused, err)
		}
		var one object
		if err := yaml.UnmarshalStrict(text, &one); err != nil {
			return nil, err
		}
		objects = append(objects, one)
	}
	return objects, errors.Join(refused...)
}

// conforms says where an object differs from the schema of its kind.
func conforms(text []byte, one *resource.Resource, schemas string) error {
	gvk := one.GetGvk()
	name := strings.ToLower(fmt.Sprintf("%s-%s-%s.json", gvk.Kind, gvk.Group, gvk.Version))
	check, err := validator.New([]string{filepath.Join(schemas, name)}, validator.Opts{Strict: true})
	if err != nil {
		return err
	}
	var refused []error
	for _, result := range check.Validate(one.GetName(), io.NopCloser(bytes.NewReader(text))) {
		if result.Status != validator.Valid {
			refused = append(refused, fmt.Errorf("%s %s: %w", gvk.Kind, one.GetName(), result.Err))
		}
	}
	return errors.Join(refused...)
}
