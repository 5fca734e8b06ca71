-- Properties of events had no bound: one value of 1e200 made its experiment's squares and cubes impossible for good.
-- Who has such an outcome is counted again by the worker, also where a worker of the earlier release counts meanwhile;
-- the index finds them. What is archived is not counted again, and brought down here.
create index outcome_uncountable on experiments.outcome (customer_id) where abs(value) > 1e20;
update experiments.outcome as o
   set value = case when o.value > 0 then 1e20 else -1e20 end
  from experiments.experiment as x
 where x.id = o.experiment_id and x.state = 'archived' and abs(o.value) > 1e20;
